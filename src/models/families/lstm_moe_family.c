/* The LSTM with experts of 2017. No other program has a config.json of it: it is named in recipes. */
#include "models/families/family.h"
#include "models/model.h"

static const family_key keys[] = {
    {"num_attention_heads", OPTION_INTEGER, offsetof(model_config, num_attention_heads), 0, true, NULL},
};

const family family_lstm_moe = {
    .model_type = "lstm_moe",
    .architecture = "LstmMoe",
    .inner_key = "intermediate_size",
    .experts_key = "num_experts",
    .rms_norm_eps = 1e-6,
    .rope_theta = 1e4,
    .backbone = &lstm_moe_backbone,
    .missing = "LSTMs",
    .recurrent = true,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
};
