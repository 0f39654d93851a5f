#!/usr/bin/env python3
"""The peer for `lamp bench decode` and `prefill`: llama.cpp (llama-cpp-python) on the same GGUF file; prints tokens per second, best and median.

    build/lamp bench --make-model q8.gguf --type q8_0
    build/venv/bin/python tools/peer_llama_cpp.py q8.gguf [--threads 2] [--tokens 512] [--rounds 5]"""
import argparse
import statistics
import time

import llama_cpp

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--tokens", type=int, default=512)
parser.add_argument("--written", type=int, default=16)
parser.add_argument("--rounds", type=int, default=5)
options = parser.parse_args()

llm = llama_cpp.Llama(options.model, n_ctx=options.tokens + options.written + 64, n_batch=options.tokens, n_ubatch=options.tokens,
                      n_threads=options.threads, n_threads_batch=options.threads, verbose=False)
text = [i * 2654435761 % llm.n_vocab() for i in range(options.tokens)]
read, write = [], []
for _ in range(options.rounds):
    llm.reset()
    begin = time.perf_counter()
    llm.eval(text)
    read.append(options.tokens / (time.perf_counter() - begin))
    llm.reset()
    llm.eval(text[:32])
    begin = time.perf_counter()
    for token in text[:options.written]:
        llm.eval([token])
    write.append(options.written / (time.perf_counter() - begin))
for name, rates in (("reading", read), ("writing", write)):
    print(f"{name} {options.model}: best {max(rates):.1f}, median {statistics.median(rates):.1f} tokens/s")
