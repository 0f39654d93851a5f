#!/usr/bin/env python3
"""Makes tests/golden/quantise.safetensors: values, and the bytes that the package gguf makes of them in each type that we write; and
tests/golden/blocks.safetensors: random blocks of the types that we only read, and the values that the package finds in them.

    python3 -m venv build/venv && build/venv/bin/pip install gguf safetensors numpy
    build/venv/bin/python tools/golden_quantise.py

The files are kept in the repository: neither building nor testing needs this script. Rows are random at many scales, and then what is
awkward: zeros, ties of rounding, equal magnitudes of both signs, neighbours of powers of two, numbers below the normal ones."""
import gguf
import numpy as np
from safetensors.numpy import save_file

TYPES = {"f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q4_0": "Q4_0", "mxfp4": "MXFP4"}
WIDTH = 64


def awkward_rows(random):
    yield np.zeros(WIDTH)
    yield np.full(WIDTH, -1.0)
    yield np.where(np.arange(WIDTH) % 2, 3.0, -3.0)  # the first of equal magnitudes gives Q4_0 its sign
    yield np.where(np.arange(WIDTH) % 2, -3.0, 3.0)
    yield (np.arange(WIDTH) - 32) / 2.0  # halves, which are ties of Q8_0 when the largest is 127
    yield np.concatenate([[127.0], np.arange(WIDTH - 1) - 31 + 0.5])
    yield np.concatenate([[-8.0], (np.arange(WIDTH - 1) % 16) - 7.5])
    yield np.concatenate([[12.0], (np.arange(WIDTH - 1) % 25) - 12.0]) / 2  # halfway between the values of MXFP4
    for exponent in (-120, -20, -1, 0, 1, 14):
        power = np.float32(2.0) ** exponent
        around = np.array([np.nextafter(power, np.float32(0)), power, np.nextafter(power, np.float32(np.inf))], np.float32)
        for largest in around:  # where the logarithm that MXFP4 takes rounds up
            yield np.concatenate([[largest], random.uniform(-1, 1, WIDTH - 1) * largest * 0.99])
    yield random.uniform(-1, 1, WIDTH) * 1e-7  # scales below the normal halves
    yield random.uniform(-1, 1, WIDTH) * 1e-9  # and below all of them
    yield np.full(WIDTH, 65504.0)
    yield (1 + np.arange(WIDTH) * 2.0**-11) * 2.0**-14  # ties of F16 at the border of its normal numbers
    yield (1 + np.arange(WIDTH) * 2.0**-8)  # ties of BF16


def make(path):
    random = np.random.default_rng(1)
    scales = 10.0 ** random.uniform(-4, 3, (24, 1))
    rows = [*(random.standard_normal((24, WIDTH)) * scales), *awkward_rows(random)]
    values = np.stack(rows).astype(np.float32)
    tensors = {"values": values}
    for ours, theirs in TYPES.items():
        kind = gguf.GGMLQuantizationType[theirs]
        stored = gguf.quants.quantize(values, kind)
        tensors[ours] = np.ascontiguousarray(stored).view(np.uint8).reshape(-1)
        tensors[ours + ".read"] = gguf.quants.dequantize(stored, kind).astype(np.float32)
    save_file(tensors, path)
    print(f"{path}: {values.shape[0]} rows of {WIDTH}")


# Where a block has its scales, each a half.
READ_ONLY = {"Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def make_blocks(path, blocks=4):
    random = np.random.default_rng(2)
    tensors = {}
    for name, halves in READ_ONLY.items():
        kind = gguf.GGMLQuantizationType[name]
        stored = random.integers(0, 256, (blocks, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
        for at in halves:
            stored[:, at:at + 2] = random.uniform(-2, 2, (blocks, 1)).astype(np.float16).view(np.uint8)
        tensors[name] = stored.reshape(-1)
        tensors[name + ".read"] = gguf.quants.dequantize(stored, kind).astype(np.float32).reshape(-1)
    save_file(tensors, path)
    print(f"{path}: {blocks} blocks of {len(READ_ONLY)} types")


if __name__ == "__main__":
    make("tests/golden/quantise.safetensors")
    make_blocks("tests/golden/blocks.safetensors")
