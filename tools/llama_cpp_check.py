#!/usr/bin/env python3
"""Are our GGUF files llama.cpp's? For each architecture a random model goes through `lamp convert` and `lamp quantize`, llama.cpp continues a prompt
greedily from the file, and each of its tokens must be the most probable one by `lamp logits` from the same file, and of f32 by transformers too.
Last, a trained run, if one is given: both must cut its text into the same tokens.

    python3 -m venv build/venv && build/venv/bin/pip install torch transformers safetensors llama-cpp-python
    build/venv/bin/python tools/llama_cpp_check.py [RUN TEXT]

A token may be another where the two most probable ones are closer than llama.cpp's own rounding: it multiplies blocks of bytes with activations
in bytes, and bf16 with bf16. Such a place is counted, and the prompt goes on with the token that llama.cpp took."""
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from golden_models import randomise

LAMP = "build/lamp"
T, G, V = 24, 64, 96
SIZES = dict(vocab_size=V, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
             initializer_range=0.15, bos_token_id=None, pad_token_id=None, eos_token_id=V - 1, use_cache=False)
EXPERTS = dict(num_experts=8, num_experts_per_tok=2)

MODELS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES, intermediate_size=96, attention_bias=True),
    "mixtral": lambda: transformers.MixtralConfig(**SIZES, num_local_experts=8, num_experts_per_tok=2, intermediate_size=96),
    "olmoe": lambda: transformers.OlmoeConfig(**{**SIZES, "num_key_value_heads": 4}, **EXPERTS, intermediate_size=96),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, intermediate_size=96, tie_word_embeddings=True),
    "qwen2_moe": lambda: transformers.Qwen2MoeConfig(**SIZES, **EXPERTS, moe_intermediate_size=64, intermediate_size=96,
                                                     shared_expert_intermediate_size=32),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, intermediate_size=96, head_dim=32),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(**SIZES, **EXPERTS, moe_intermediate_size=64, intermediate_size=96, head_dim=32,
                                                     norm_topk_prob=True),
}
TYPES = ["f32", "q8_0", "q4_0", "mxfp4"]


def lamp(*words):
    return subprocess.run([LAMP, *map(str, words)], check=True, capture_output=True, text=True).stdout


def continue_greedily(file, ids):
    model = llama_cpp.Llama(str(file), n_ctx=128, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0)
    model.eval(ids)
    tokens = list(ids)
    for _ in range(G):
        tokens.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        if len(tokens) < T + G:
            model.eval(tokens[-1:])
    return tokens, np.array(model.scores[:T + G - 1])


def logits_of_lamp(file, tokens, folder):
    (folder / "ids").write_text("".join(f"{i}\n" for i in tokens))
    lamp("logits", file, "--ids", folder / "ids", "--out", folder / "logits")
    return load_file(folder / "logits")["logits"]


def report(name, what, tokens, logits, theirs):
    """How many of the tokens that followed are not our most probable ones, and how far apart the logits are."""
    places = range(T - 1, T + G - 1)
    other = [p for p in places if int(np.argmax(logits[p])) != tokens[p + 1]]
    margins = [float(np.max(logits[p]) - logits[p][tokens[p + 1]]) for p in other]
    error = np.sqrt(np.mean((logits - theirs) ** 2) / np.mean(logits ** 2))
    print(f"{name:10} {what:22} {G - len(other)} of {G} tokens the same; logits off by {100 * error:.3g} %" +
          (f"; where they differ ours are ahead by at most {max(margins):.3g} of {np.std(logits):.3g}" if other else ""))
    return len(other)


def check(name, folder):
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(MODELS[name](), dtype=torch.float32, attn_implementation="eager").eval()
    randomise(model)
    model.save_pretrained(folder / name)
    ids = torch.randint(0, V, (T,)).tolist()
    wrong = 0
    for kind in TYPES:
        file = folder / f"{name}-{kind}.gguf"
        lamp("convert", folder / name, file) if kind == "f32" else lamp("quantize", folder / name, file, "--type", kind)
        tokens, theirs = continue_greedily(file, ids)
        ours = logits_of_lamp(file, tokens[:-1], folder)
        differ = report(name, f"{kind}, lamp", tokens, ours, theirs)
        wrong += differ if kind in ("f32", "q8_0") else 0
        if kind == "f32":
            with torch.no_grad():
                wrong += report(name, "f32, transformers", tokens, model(torch.tensor([tokens[:-1]])).logits[0].numpy(), theirs)
    return wrong


def check_text(run, text, folder):
    file = folder / "run.gguf"
    lamp("convert", run, file)
    ours = [int(i) for i in lamp("tokenize", file, text).split()]
    model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    theirs = model.tokenize(pathlib.Path(text).read_bytes(), add_bos=False, special=False)
    print(f"{run}: {len(ours)} tokens of {text}, {'the same' if ours == theirs else 'others'} by llama.cpp")
    return ours != theirs


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"llama-cpp-python {llama_cpp.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as place:
        failed = sum(check(name, pathlib.Path(place)) for name in MODELS)
        if len(sys.argv) == 3:
            failed += check_text(*sys.argv[1:], pathlib.Path(place))
    print(f"{failed} failed")
    sys.exit(failed > 0)
