#!/usr/bin/env python3
"""Makes tests/golden/quantise.safetensors: values, and the bytes that the package gguf makes of them in each type that we write.

    python3 -m venv build/venv && build/venv/bin/pip install gguf safetensors numpy
    build/venv/bin/python tools/golden_quantise.py [FILE]

The file is kept in the repository: neither building nor testing needs this script. Its rows are random at many scales, and then what is
awkward: zeros, ties of rounding, equal magnitudes of both signs, neighbours of powers of two, numbers below the normal ones."""
import sys

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


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/quantise.safetensors")
