#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random models of every family, with what transformers computes for them in float32.

    python3 -m venv build/venv && build/venv/bin/pip install torch transformers safetensors
    build/venv/bin/python tools/golden_models.py [NAME...]        of MODELS below; all by default

Of a family there are two: as plain as it comes, and one with every optional feature on, whose weights are kept as bf16. Sizes are odd on purpose. Per model: config.json,
model.safetensors, generation_config.json; ids.txt, T token ids, one a line; greedy.txt, the G tokens that follow when the most probable one is taken;
logits.safetensors: logits (T, V), and of sparse models experts (sparse layers, T + G - 1, K), the chosen ones of each token in ascending order. The
files are kept in the repository: neither building nor testing needs this script.

Norms are perturbed, because a norm of ones hides a missing one, and biases and sinks are not left at zero; weights are wide enough that experts,
positions and heads matter. What is written must also be what this model computes in double with its weights moved by 1e-5, or another seed is tried:
a near-tie of the router or of two tokens would be flipped by rounding. So it is where the same few tokens follow for ever."""
import copy
import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

T, G, V = 24, 64, 61
COMMON = dict(vocab_size=V, max_position_embeddings=128, initializer_range=0.25, bos_token_id=None, pad_token_id=None, eos_token_id=V - 1, use_cache=False)
SIZES = dict(COMMON, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3)
GROUPED = dict(COMMON, hidden_size=36, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2)

LLAMA3 = dict(rope_type="llama3", rope_theta=300.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
LINEAR = dict(rope_type="linear", rope_theta=1e4, factor=2.5)
DEFAULT = dict(rope_type="default", rope_theta=1e4)
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=32)

WINDOWS = dict(use_sliding_window=True, sliding_window=9, max_window_layers=1)
LATENT = dict(kv_lora_rank=10, qk_nope_head_dim=8, qk_rope_head_dim=6, v_head_dim=5)
ALL_HEADS = dict(GROUPED, num_key_value_heads=6)

MODELS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES, intermediate_size=40, rope_theta=5e5),
    "llama_full": lambda: transformers.LlamaConfig(**GROUPED, intermediate_size=41, head_dim=10, attention_bias=True, tie_word_embeddings=True,
                                                   rope_parameters=LLAMA3),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, intermediate_size=40),
    "qwen2_full": lambda: transformers.Qwen2Config(**GROUPED, **WINDOWS, intermediate_size=41, tie_word_embeddings=True,
                                                   rope_parameters=dict(YARN, beta_fast=8.0, beta_slow=2.0)),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, intermediate_size=40, head_dim=10),
    "qwen3_full": lambda: transformers.Qwen3Config(**GROUPED, **WINDOWS, intermediate_size=41, head_dim=14, attention_bias=True, tie_word_embeddings=True,
                                                   rope_parameters=dict(YARN, attention_factor=0.9)),
    "olmoe": lambda: transformers.OlmoeConfig(**SIZES, num_experts=5, num_experts_per_tok=2, intermediate_size=13),
    "olmoe_full": lambda: transformers.OlmoeConfig(**GROUPED, num_experts=7, num_experts_per_tok=3, intermediate_size=13,
                                                   norm_topk_prob=True, clip_qkv=1.5, attention_bias=True, tie_word_embeddings=True),
    "mixtral": lambda: transformers.MixtralConfig(**SIZES, num_local_experts=5, num_experts_per_tok=2, intermediate_size=13),
    "mixtral_full": lambda: transformers.MixtralConfig(**GROUPED, num_local_experts=7, num_experts_per_tok=3, intermediate_size=13, head_dim=10,
                                                       sliding_window=9, tie_word_embeddings=True, rope_parameters=LINEAR),
    "qwen2_moe": lambda: transformers.Qwen2MoeConfig(**SIZES, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=13, intermediate_size=41,
                                                     shared_expert_intermediate_size=19),
    "qwen2_moe_full": lambda: transformers.Qwen2MoeConfig(**dict(GROUPED, num_hidden_layers=5), **WINDOWS, num_experts=7, num_experts_per_tok=3,
                                                          moe_intermediate_size=13, intermediate_size=41, shared_expert_intermediate_size=19,
                                                          norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[0, 1], qkv_bias=False,
                                                          tie_word_embeddings=True),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**SIZES, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=13, intermediate_size=41,
                                                     head_dim=10, norm_topk_prob=True),
    "qwen3_moe_full": lambda: transformers.Qwen3MoeConfig(**dict(GROUPED, num_hidden_layers=5), use_sliding_window=True, sliding_window=9, num_experts=7, num_experts_per_tok=3,
                                                          moe_intermediate_size=13, intermediate_size=41, head_dim=14, norm_topk_prob=False,
                                                          decoder_sparse_step=2, mlp_only_layers=[0], attention_bias=True, tie_word_embeddings=True,
                                                          rope_parameters=dict(YARN, truncate=False, mscale=0.8, mscale_all_dim=0.5)),
    "gpt_oss": lambda: transformers.GptOssConfig(**SIZES, num_local_experts=5, num_experts_per_tok=2, intermediate_size=13, head_dim=10,
                                                 sliding_window=100, rope_parameters=DEFAULT),
    "gpt_oss_full": lambda: transformers.GptOssConfig(**GROUPED, num_local_experts=7, num_experts_per_tok=3, intermediate_size=13, head_dim=10,
                                                      sliding_window=5, swiglu_limit=0.6, swiglu_alpha=1.5, tie_word_embeddings=True,
                                                      rope_parameters=dict(YARN, truncate=False)),
    "gpt_oss_mxfp4": lambda: transformers.GptOssConfig(**dict(SIZES, hidden_size=64, num_attention_heads=4, num_key_value_heads=1),
                                                       num_local_experts=5, num_experts_per_tok=2, intermediate_size=32, head_dim=10, sliding_window=9,
                                                       attention_bias=False),
    "llama4": lambda: transformers.Llama4TextConfig(**SIZES, num_local_experts=5, intermediate_size=13, intermediate_size_mlp=41, head_dim=10,
                                                    rope_parameters=DEFAULT),
    "llama4_full": lambda: transformers.Llama4TextConfig(**dict(GROUPED, num_hidden_layers=5), num_local_experts=7, num_experts_per_tok=2,
                                                         intermediate_size=13, intermediate_size_mlp=41, head_dim=10, interleave_moe_layer_step=2,
                                                         attention_chunk_size=9, no_rope_layer_interval=3, floor_scale=4, attn_scale=0.3,
                                                         attention_bias=True, tie_word_embeddings=True, rope_parameters=LLAMA3),
    "deepseek_v2": lambda: transformers.DeepseekV2Config(**SIZES, **LATENT, q_lora_rank=None, n_routed_experts=5, num_experts_per_tok=2,
                                                         moe_intermediate_size=13, intermediate_size=41, n_shared_experts=1, first_k_dense_replace=0),
    "deepseek_v2_full": lambda: transformers.DeepseekV2Config(**ALL_HEADS, **LATENT, q_lora_rank=11, n_routed_experts=12, num_experts_per_tok=3,
                                                              moe_intermediate_size=13, intermediate_size=41, n_shared_experts=2,
                                                              first_k_dense_replace=1, topk_method="group_limited_greedy", n_group=4, topk_group=2,
                                                              routed_scaling_factor=3.0, tie_word_embeddings=True,
                                                              rope_parameters=dict(YARN, mscale=0.707, mscale_all_dim=0.707)),
    "deepseek_v3": lambda: transformers.DeepseekV3Config(**SIZES, **LATENT, q_lora_rank=None, n_routed_experts=6, num_experts_per_tok=2,
                                                         moe_intermediate_size=13, intermediate_size=41, n_shared_experts=1, first_k_dense_replace=1,
                                                         n_group=1, topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.0),
    "deepseek_v3_full": lambda: transformers.DeepseekV3Config(**ALL_HEADS, **LATENT, q_lora_rank=11, n_routed_experts=12, num_experts_per_tok=3,
                                                              moe_intermediate_size=13, intermediate_size=41, n_shared_experts=2,
                                                              first_k_dense_replace=1, n_group=4, topk_group=2, norm_topk_prob=True,
                                                              routed_scaling_factor=2.5, rope_interleave=False, tie_word_embeddings=True,
                                                              rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.6)),
    "deepseek_v3_fp8": lambda: transformers.DeepseekV3Config(**dict(SIZES, hidden_size=144), **LATENT, q_lora_rank=7, n_routed_experts=6,
                                                             num_experts_per_tok=2, moe_intermediate_size=8, intermediate_size=140, n_shared_experts=1,
                                                             first_k_dense_replace=1, n_group=2, topk_group=1),
}
PARTS = ["llama4_full"]  # saved as the part of a model that also sees
FOUR_BITS = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
FUSED = ["mixtral"]  # once more, as transformers 5 holds it in memory: experts in one tensor, the router under another name
SHARDED = ["qwen2_moe"]  # once more, in several files with an index


MXFP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def to_blocks(model):
    """Makes the experts of GPT-OSS ones that four bits can hold, and returns them so."""
    packed = {}
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith(("gate_up_proj", "down_proj")):
                experts, inner, outer = value.shape  # transposed
                codes = torch.randint(0, 16, (experts, outer, inner // 32, 32), dtype=torch.uint8)
                scales = torch.randint(122, 126, (experts, outer, inner // 32), dtype=torch.uint8)
                values = MXFP4[codes.long()] * torch.exp2(scales.float() - 127).unsqueeze(-1)
                value.copy_(values.reshape(experts, outer, inner).transpose(1, 2))
                packed[key + "_blocks"] = codes[..., 0::2] | codes[..., 1::2] << 4
                packed[key + "_scales"] = scales
    return packed


def to_squares(model):
    """Makes the matrices of DeepSeek-V3 ones that eight bits with a scale for each square can hold, and returns them so."""
    packed = {}
    with torch.no_grad():
        experts = {name: value for name, value in model.state_dict().items() if ".experts." in name}
        for key, value in model.named_parameters():
            if key in experts:  # of all in one tensor, each has squares of its own
                for e, expert in enumerate(value):
                    halves = expert.chunk(2) if "gate_up" in key else [expert]
                    for half, word in zip(halves, ["gate_proj", "up_proj"] if "gate_up" in key else ["down_proj"]):
                        name = key.rsplit(".", 1)[0] + f".{e}.{word}.weight"
                        packed[name], packed[name + "_scale_inv"] = round_to_squares(half)
            elif key.endswith("proj.weight") or "kv_a_proj" in key:
                packed[key], packed[key + "_scale_inv"] = round_to_squares(value)
    return packed


def round_to_squares(value):
    """In place; returns the eight bits and the scales."""
    rows, columns = -(-value.shape[0] // 128), -(-value.shape[1] // 128)
    scales = torch.rand(rows, columns) * 0.01 + 0.002
    wide = scales.repeat_interleave(128, 0)[: value.shape[0]].repeat_interleave(128, 1)[:, : value.shape[1]]
    bits = (value / wide).clamp(-448, 448).to(torch.float8_e4m3fn)
    value.copy_(bits.float() * wide)
    return bits, scales


def write_packed(folder, packed, quantization):
    """Puts what was packed in the place of the tensors it was made from."""
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name in packed:
        tensors.pop(name.removesuffix("_blocks"), None)
    save_file(tensors | packed, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}, indent=2) + "\n")


def write_as_part(folder):
    """What a model of text and pictures is saved as, but for what sees."""
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {"language_model." + name: file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    whole = {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "text_config": config}
    (folder / "config.json").write_text(json.dumps(whole, indent=2) + "\n")


def randomise(model):
    """Nothing may stay at a value that hides a mistake."""
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "norm" in key:
                value.copy_(1 + 0.3 * torch.randn_like(value))
            elif key.endswith(("bias", "sinks")):
                value.copy_(0.3 * torch.randn_like(value))
            elif not value.std() > 0.1:
                raise SystemExit(f"{key} was not initialised")
        for key, value in model.named_buffers():
            if key.endswith("correction_bias"):
                value.copy_(0.1 * torch.randn_like(value))


class Routing:
    """Collects the experts that routers choose, layer by layer."""

    def __init__(self, model):
        self.chosen = []
        self.hooks = [m.register_forward_hook(self.keep) for m in model.modules() if type(m).__name__.endswith(("TopKRouter", "TopkRouter", "Llama4Router"))]

    def keep(self, router, inputs, outputs):
        chosen = outputs[2] if len(outputs) > 2 else outputs[1].topk(router.top_k, dim=-1).indices
        self.chosen.append(chosen.sort(dim=-1).values)

    def close(self):
        for hook in self.hooks:
            hook.remove()
        return torch.stack(self.chosen).float() if self.chosen else None


def evaluate(model, ids):
    """The logits of ids (1, T), the greedy continuation, and the routing of all but its last token."""
    with torch.no_grad():
        logits, tokens = model(ids).logits[0].float(), ids
        for _ in range(G):
            tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(dim=-1)], dim=1)
        routing = Routing(model)
        model(tokens[:, :-1])
        return logits, tokens[0, ids.shape[1]:], routing.close()


def is_robust(model, ids, greedy, experts):
    moved = copy.deepcopy(model).double()
    with torch.no_grad():
        for value in moved.parameters():
            value.add_(1e-5 * torch.randn_like(value))
    _, same_greedy, same_experts = evaluate(moved, ids)
    varied = len(set(greedy.tolist())) >= 8
    return varied and torch.equal(greedy, same_greedy) and (experts is None or torch.equal(experts, same_experts))


def write(model, folder, ids, logits, greedy, experts, **options):
    shutil.rmtree(folder, ignore_errors=True)
    if folder.name.endswith("full"):
        model.to(torch.bfloat16)
    model.save_pretrained(folder, **options)
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in ids[0].tolist()))
    (folder / "greedy.txt").write_text("".join(f"{i}\n" for i in greedy.tolist()))
    save_file({"logits": logits.contiguous()} | ({} if experts is None else {"experts": experts.contiguous()}), folder / "logits.safetensors")
    for file in folder.glob("*"):
        file.chmod(0o644)


def make(name, root):
    for seed in range(1000):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(MODELS[name](), dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
        randomise(model)
        packed = to_blocks(model) if name.endswith("mxfp4") else to_squares(model) if name.endswith("fp8") else {}
        if name.endswith("full"):
            for value in model.parameters():
                value.data = value.data.bfloat16().float()
        ids = torch.randint(0, V, (1, T))
        found = evaluate(model, ids)
        if is_robust(model, ids, *found[1:]):
            break
    else:
        raise SystemExit(f"{name}: no seed without near-ties")
    write(model, root / name, ids, *found)
    if name in PARTS:
        write_as_part(root / name)
    if packed:
        write_packed(root / name, packed, FP8 if name.endswith("fp8") else FOUR_BITS)
    if name in FUSED:
        write(model, root / f"{name}_fused", ids, *found, save_original_format=False)
    if name in SHARDED:
        write(model, root / f"{name}_sharded", ids, *found, max_shard_size="40KB")
    print(f"{name}: seed {seed}, {sum(p.numel() for p in model.parameters())} parameters, logits of deviation {found[0].std():.2f}, "
          f"{len(set(found[1].tolist()))} different tokens follow")


if __name__ == "__main__":
    root = pathlib.Path("tests/golden/models")
    root.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for family in sys.argv[1:] or MODELS:
        make(family, root)
