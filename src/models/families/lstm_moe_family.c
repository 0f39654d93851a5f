/* The LSTM with experts of 2017. No other program has a config.json of it: its models are saved as ours. Gates have the order of PyTorch's
 * nn.LSTM, whose names these are. */
#include "models/families/family.h"
#include "models/model.h"

static const family_tensor tensors[] = {
    {.kind = "lstm.input", .tensor = "model.layers.{l}.lstm.weight_ih"},
    {.kind = "lstm.recurrent", .tensor = "model.layers.{l}.lstm.weight_hh"},
    {.kind = "lstm.bias", .tensor = "model.layers.{l}.lstm.bias"},
    {.kind = "mlp.middle.1", .tensor = "model.layers.{l}.mlp.middle_proj.1.weight"},
    {.kind = "mlp.middle.2", .tensor = "model.layers.{l}.mlp.middle_proj.2.weight"},
    {.kind = "mlp.middle.3", .tensor = "model.layers.{l}.mlp.middle_proj.3.weight"},
    {.kind = "lstm.projection", .tensor = "model.layers.{l}.lstm.weight_hr"},
};

const family family_lstm_moe = {
    .model_type = "lstm_moe",
    .architecture = "LstmMoe",
    .inner_key = "intermediate_size",
    .experts_key = "num_experts",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .backbone = &lstm_moe_backbone,
    .recurrent = true,
    .tensors = tensors,
    .n_tensors = sizeof tensors / sizeof *tensors,
};
