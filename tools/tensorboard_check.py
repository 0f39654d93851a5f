#!/usr/bin/env python3
"""tensorboard_check.py RUN: does TensorBoard itself read from RUN/tensorboard what RUN/metrics.jsonl and RUN/routing.jsonl say?

Needs tensorboard:  python3 -m venv build/oracle && build/oracle/bin/pip install tensorboard
The run must have been trained with train.tensorboard = true from its start. It may have been killed and resumed."""
import json
import math
import os
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = sys.argv[1]
events = EventAccumulator(os.path.join(run, "tensorboard"), size_guidance={"scalars": 0})
events.Reload()
read = {tag: {} for tag in events.Tags()["scalars"]}
for tag in read:
    for e in events.Scalars(tag):
        assert e.step not in read[tag], f"{tag}: step {e.step} comes twice"
        read[tag][e.step] = e.value


def lines(name):
    with open(os.path.join(run, name)) as file:
        return [json.loads(line) for line in file]


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


said = {}
rounded = set()


def say(tag, step, value, six_digits=False):
    if value is None:
        return
    said.setdefault(tag, {})[step] = value
    if six_digits:
        rounded.add(tag)


STEP = {"loss": "train/", "gradient_norm": "train/", "learning_rate": "train/", "tokens_per_second": "train/"}
for line in lines("metrics.jsonl"):
    step = line["step"]
    if line["kind"] == "step":
        for key, value in line.items():
            if key in STEP:
                say(STEP[key] + key, step, value)
            elif key.endswith("_loss"):
                say("balance/" + key, step, value)
    else:
        for name, score in [("all", line)] + [("domain/" + n, s) for n, s in line["domains"].items()]:
            say("validation_loss/" + name, step, score["loss"])
            say("validation_bits_per_byte/" + name, step, score["bits_per_byte"])

LISTS = {"load", "importance", "weight_norm", "update_norm", "alike", "pairs", "dropped_pairs", "turned", "bias_range"}
for line in lines("routing.jsonl"):
    kind = "probe" if line["kind"] == "probe" else "routing"
    if kind == "probe" and line["since"] < 0:
        continue
    for i, layer in enumerate(line["layers"]):
        for key in layer.keys() - LISTS:
            say(f"{kind}/{key}/layer_{i:02d}", line["step"], layer[key], True)

assert read.keys() == said.keys(), f"tags differ: {sorted(read.keys() ^ said.keys())}"
points = 0
for tag, values in said.items():
    assert read[tag].keys() == values.keys(), f"{tag}: steps differ: {sorted(read[tag].keys() ^ values.keys())[:9]}"
    for step, value in values.items():
        found = read[tag][step]
        same = math.isclose(found, value, rel_tol=1e-5, abs_tol=1e-9) if tag in rounded else found == single(value)
        assert same, f"{tag}, step {step}: expected {value}, found {found}"
        points += 1
print(f"TensorBoard reads {len(said)} series and {points} points of {run}, all as its logs say")
