#!/usr/bin/env python3
"""Makes tests/golden/models: a tiny random model per family, with the logits that transformers computes for it in float32.

    python3 -m venv build/venv && build/venv/bin/pip install torch transformers safetensors
    build/venv/bin/python tools/golden_models.py [FOLDER]

Per family: config.json, model.safetensors, generation_config.json, ids.txt (a token id a line), logits.safetensors (T, V). The files are
kept in the repository: neither building nor testing needs this script. Norms are perturbed, because a norm of ones hides a
missing one; weights are wide enough that experts, positions and heads matter; near-ties of the router are refused, because rounding
would flip them."""
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file

T, V = 24, 64
SIZES = dict(vocab_size=V, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
             initializer_range=0.2, bos_token_id=None, pad_token_id=None, eos_token_id=V - 1, use_cache=False)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2)

MODELS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES, intermediate_size=40, rope_theta=5e5),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, intermediate_size=40, head_dim=16, tie_word_embeddings=True),
    "olmoe": lambda: transformers.OlmoeConfig(**SIZES, **EXPERTS, intermediate_size=12),
    "mixtral": lambda: transformers.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2, intermediate_size=12),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**SIZES, **EXPERTS, moe_intermediate_size=12, head_dim=16, norm_topk_prob=True),
}


def smallest_router_margin(outputs, chosen):
    """How far, in logits, the last chosen expert is from the first that was not."""
    margins = [l.topk(chosen + 1, dim=-1).values for l in outputs.router_logits]
    return min((m[..., chosen - 1] - m[..., chosen]).min().item() for m in margins)


def make(name, folder):
    for seed in range(100):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(MODELS[name](), dtype=torch.float32, attn_implementation="eager").eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "norm" in key:
                    value.copy_(1 + 0.3 * torch.randn_like(value))
                elif not value.std() > 0.1:
                    raise SystemExit(f"{name}: {key} was not initialised")
            ids = torch.randint(0, V, (1, T))
            sparse = hasattr(model.config, "num_experts_per_tok")
            outputs = model(ids, **({"output_router_logits": True} if sparse else {}))
        if not sparse or smallest_router_margin(outputs, model.config.num_experts_per_tok) > 5e-3:
            break
    else:
        raise SystemExit(f"{name}: no seed without near-ties")
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in ids[0].tolist()))
    save_file({"logits": outputs.logits[0].contiguous()}, folder / "logits.safetensors")
    if name == "mixtral":  # once more, as transformers 5 holds it in memory: experts fused, the router under another name
        fused = folder.with_name("mixtral_fused")
        shutil.rmtree(fused, ignore_errors=True)
        model.save_pretrained(fused, save_original_format=False)
        for file in ("ids.txt", "logits.safetensors"):
            shutil.copy(folder / file, fused / file)
    for file in folder.parent.glob("*/*"):
        file.chmod(0o644)
    print(f"{name}: seed {seed}, {sum(p.numel() for p in model.parameters())} parameters, logits of deviation {outputs.logits.std():.2f}")


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/models")
    root.mkdir(parents=True, exist_ok=True)
    transformers.utils.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for family in MODELS:
        make(family, root / family)
