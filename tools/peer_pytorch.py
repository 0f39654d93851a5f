#!/usr/bin/env python3
"""The peer for bench/model_p.ini: the same model trained by PyTorch and transformers on this CPU; prints median tokens per second.

    build/venv/bin/python tools/peer_pytorch.py [--experts 8] [--precision f32|bf16] [--implementation eager|grouped_mm|batched_mm] [--steps 8]

Experts as transformers has them: a loop over experts (eager), or one grouped or batched product (its other implementations). For a fair
figure start it with MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=67108864 and no OPENBLAS_* variable set."""
import argparse
import resource
import statistics
import time

import torch
import transformers

parser = argparse.ArgumentParser()
parser.add_argument("--experts", type=int, default=8)
parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
parser.add_argument("--implementation", default="eager")
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--threads", type=int, default=0)
options = parser.parse_args()
if options.threads:
    torch.set_num_threads(options.threads)

B, T, V = 16, 256, 8192
config = transformers.MixtralConfig(
    vocab_size=V, hidden_size=256, intermediate_size=512, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=8,
    max_position_embeddings=T, num_local_experts=options.experts, num_experts_per_tok=2, use_cache=False, output_router_logits=True,
    router_aux_loss_coef=0.01)
config._experts_implementation = options.implementation
torch.manual_seed(1)
model = transformers.MixtralForCausalLM._from_config(config, attn_implementation="sdpa")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
ids = torch.randint(0, V, (B, T))
seconds = []
for step in range(options.steps + 2):
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.perf_counter() - begin)
median = statistics.median(seconds[2:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads: {options.precision}, "
      f"{options.experts} experts, {options.implementation}: {B * T / median:.0f} tokens/s, {median:.2f} s a step, {peak:.2f} GB at most, "
      f"loss {loss.item():.3f}")
