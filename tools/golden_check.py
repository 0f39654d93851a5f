#!/usr/bin/env python3
"""Loads a model folder with transformers, as proof that it loads, and writes the logits it computes in float32.

    build/venv/bin/python tools/golden_check.py FOLDER IDS OUT.safetensors      IDS: a token id a line

Compare with `lamp logits FOLDER --ids IDS --out OURS.safetensors`: both hold one tensor "logits" (T, V). Given such a file as fourth
argument, it prints the largest difference. Any tensor that is missing, left over or of another shape is an error."""
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

folder, ids_file, out = sys.argv[1:4]
model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                                output_loading_info=True)
wrong = {k: v for k, v in info.items() if v}
if wrong:
    raise SystemExit(f"{folder}: transformers {transformers.__version__} does not load it cleanly: {wrong}")
ids = torch.tensor([[int(line) for line in open(ids_file)]])
with torch.no_grad():
    logits = model.eval()(ids).logits[0].contiguous()
save_file({"logits": logits}, out)
print(f"transformers {transformers.__version__}: {type(model).__name__}, {tuple(logits.shape)} logits")
if (pathlib.Path(folder) / "tokenizer.json").exists():
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "The lamp, café 灯\n  42"
    same = tokenizer.decode(tokenizer(text)["input_ids"]) == text
    print(f"{type(tokenizer).__name__}: {len(tokenizer)} tokens, end of text {tokenizer.eos_token!r}, "
          f"round trip {'exact' if same else 'DIFFERS'}")
if len(sys.argv) > 4:
    print(f"largest difference {(load_file(sys.argv[4])['logits'] - logits).abs().max():.3g} of logits with deviation {logits.std():.3g}")
