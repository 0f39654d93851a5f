#!/usr/bin/env python3
"""Are our GGUF files llama.cpp's? For each architecture a random model goes through `lamp convert` and `lamp quantize`, llama.cpp continues a prompt
greedily from the file, and each of its tokens must be the most probable one by `lamp logits` from the same file, and of f32 by transformers too. In
blocks, a token may be another where the most probable ones are close: both round activations to eight bits, each in its own way. How far that moves the
logits of either is told, and some such tokens are no failure; the prompt goes on with the token that llama.cpp took.

Then tokenizers, kind by kind: llama.cpp must make the same ids of many texts as `lamp tokenize` does from the same file. Its own patterns stand in
for those that the names mean, and it composes no characters: how many texts differ is told, by what is in them, and fails only where there is no
such reason.

Last, a trained run, if one is given: both must cut its text into the same tokens, and continue prompts of it alike.

    python3 -m venv build/venv && build/venv/bin/pip install torch transformers safetensors tokenizers sentencepiece llama-cpp-python
    build/venv/bin/python tools/llama_cpp_check.py [--models NAME,...] [--tokenizers KIND,...] [--texts N] [RUN TEXT]
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import unicodedata

import llama_cpp
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

import compare_tokenizers
import tokenizer_kinds
from golden_models import randomise

LAMP = "build/lamp"
T, G, V, PROMPTS = 24, 64, 96, 4
SIZES = dict(vocab_size=V, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
             initializer_range=0.15, bos_token_id=None, pad_token_id=None, eos_token_id=V - 1, use_cache=False)
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=32)
DEEPSEEK = dict(n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=2, intermediate_size=96, moe_intermediate_size=32, first_k_dense_replace=1,
                q_lora_rank=32, kv_lora_rank=32, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32, routed_scaling_factor=1.5)
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
    "llama_yarn": lambda: transformers.LlamaConfig(**SIZES, intermediate_size=96, rope_parameters=YARN),
    "llama3": lambda: transformers.LlamaConfig(**SIZES, intermediate_size=96, rope_parameters=dict(
        rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)),
    "gpt_oss": lambda: transformers.GptOssConfig(**SIZES, num_local_experts=8, num_experts_per_tok=2, intermediate_size=64, head_dim=32,
                                                 sliding_window=16, rope_parameters=dict(rope_type="default", rope_theta=150000.0)),
    "llama4": lambda: transformers.Llama4TextConfig(**{**SIZES, "num_hidden_layers": 5}, num_local_experts=8, num_experts_per_tok=2,
                                                    intermediate_size=64, intermediate_size_mlp=96, head_dim=32, interleave_moe_layer_step=2,
                                                    attention_chunk_size=8192, rope_parameters=dict(rope_type="default", rope_theta=5e5)),
    "deepseek_v2": lambda: transformers.DeepseekV2Config(**{**SIZES, "num_key_value_heads": 4}, **DEEPSEEK, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=4.0, mscale=0.707, mscale_all_dim=0.707, original_max_position_embeddings=32)),
    "deepseek_v3": lambda: transformers.DeepseekV3Config(**{**SIZES, "num_key_value_heads": 4}, **DEEPSEEK, n_group=4, topk_group=2, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e4, factor=4.0, mscale=1.0, mscale_all_dim=1.0, original_max_position_embeddings=32)),
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


def logits_of_lamp(file, tokens, folder, *words):
    (folder / "ids").write_text("".join(f"{i}\n" for i in tokens))
    lamp("logits", file, "--ids", folder / "ids", "--out", folder / "logits", *words)
    return load_file(folder / "logits")["logits"]


def apart(logits, others):
    return 100 * np.sqrt(np.mean((logits - others) ** 2) / np.mean(logits ** 2))


def report(name, what, tokens, logits, theirs, exact=None):
    """How many of the tokens that followed are not our most probable ones, and how far apart the logits are."""
    places = range(T - 1, T + G - 1)
    other = [p for p in places if int(np.argmax(logits[p])) != tokens[p + 1]]
    margins = [float(np.max(logits[p]) - logits[p][tokens[p + 1]]) for p in other]
    print(f"{name:12} {what:18} {G - len(other)} of {G} tokens the same; logits off by {apart(logits, theirs):.3g} %" +
          (f" (theirs by {apart(exact, theirs):.3g} % from rows that are not rounded, ours by {apart(exact, logits):.3g} %)" if exact is not None else "") +
          (f"; where they differ ours are ahead by at most {max(margins):.3g} of {np.std(logits):.3g}" if other else ""), flush=True)
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
        exact = logits_of_lamp(file, tokens[:-1], folder, "--exact") if kind != "f32" else None
        differ = report(name, f"{kind}, lamp", tokens, ours, theirs, exact)
        wrong += differ if kind == "f32" else differ > G // 4
        if kind == "f32":
            with torch.no_grad():
                wrong += report(name, "f32, transformers", tokens, model(torch.tensor([tokens[:-1]])).logits[0].numpy(), theirs)
    return wrong


TOKENIZERS = ["tokenizer", "gpt2", "llama3", "qwen2", "o200k", "deepseek_v3", "deepseek_v2", "olmoe", "sentencepiece"]

# What llama.cpp is known to see otherwise: classes of characters by its own, older tables, and text that is no normal form C.
REASONS = [
    ("characters that NFC changes", lambda kind, text: unicodedata.normalize("NFC", text) != text),
    ("characters outside ASCII", lambda kind, text: not text.isascii()),
    ("numbers, which it does not cut into digits", lambda kind, text: kind == "deepseek_v2" and re.search(r"\d\d", text)),
]


def check_tokenizer(kind, folder, n_texts):
    """A model of no use but its tokenizer's; through `lamp convert`."""
    form, tokenizer = tokenizer_kinds.form_of(kind)
    size = tokenizer.get_vocab_size()
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**{**SIZES, "vocab_size": size, "eos_token_id": None},
                                                                                   intermediate_size=32))
    model.save_pretrained(folder / kind)
    (folder / kind / "tokenizer.json").write_text(form, encoding="utf-8")
    file = folder / f"{kind}.gguf"
    lamp("convert", folder / kind, file)
    texts = [text for text in tokenizer_kinds.texts(n_texts, 11) if "\0" not in text and text]
    ours = compare_tokenizers.lamp_ids(LAMP, file, [text.encode() for text in texts], "named")
    theirs = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    reader = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    found = [reader.tokenize(text.encode(), add_bos=False, special=True) for text in texts]
    differ = [i for i in range(len(texts)) if found[i] != ours[i]]
    unexplained = [i for i in differ if not any(holds(kind, texts[i]) for _, holds in REASONS)]
    told = ", ".join(f"{sum(bool(holds(kind, texts[i])) for i in differ)} with {reason}" for reason, holds in REASONS)
    print(f"{kind:14} {len(texts)} texts: lamp's ids from the GGUF file differ from those of tokenizers for "
          f"{sum(a != b for a, b in zip(ours, theirs))}, llama.cpp's from lamp's for {len(differ)} ({told}), {len(unexplained)} without a reason",
          flush=True)
    for i in unexplained[:3]:
        print(f"    {texts[i][:200]!r}\n    {found[i][:20]}, here {ours[i][:20]}")
    return len(unexplained) + sum(a != b for a, b in zip(ours, theirs))


def check_run(run, text, folder):
    """Of the text: the same tokens, and prompts of it continued by both."""
    wrong = 0
    for kind in TYPES:
        file = folder / f"run-{kind}.gguf"
        lamp("quantize", run, file, "--type", kind)
        ours = [int(i) for i in lamp("tokenize", file, text).split()]
        if kind == TYPES[0]:
            theirs = llama_cpp.Llama(str(file), vocab_only=True, verbose=False).tokenize(pathlib.Path(text).read_bytes(), add_bos=False, special=False)
            print(f"{run}: {len(ours)} tokens of {text}, {'the same' if ours == theirs else 'others'} by llama.cpp")
            wrong += ours != theirs
        for i in range(PROMPTS):
            ids = ours[i * len(ours) // PROMPTS:][:T]
            tokens, logits = continue_greedily(file, ids)
            exact = logits_of_lamp(file, tokens[:-1], folder, "--exact") if kind != "f32" else None
            differ = report("trained", f"{kind}, prompt {i}", tokens, logits_of_lamp(file, tokens[:-1], folder), logits, exact)
            wrong += differ if kind == "f32" else differ > G // 4
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--tokenizers", default=",".join(TOKENIZERS))
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("run", nargs="*", default=[])
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"llama-cpp-python {llama_cpp.__version__}, transformers {transformers.__version__}, tokenizers {tokenizer_kinds.VERSION}")
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        failed = sum(check(name, folder) for name in arguments.models.split(",") if name)
        failed += sum(check_tokenizer(kind, folder, arguments.texts) for kind in arguments.tokenizers.split(",") if kind)
        if len(arguments.run) == 2:
            failed += check_run(*arguments.run, folder)
    print(f"{failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
