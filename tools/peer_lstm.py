#!/usr/bin/env python3
"""The peer for bench/model_lstm.ini: the same model of 2017 trained by PyTorch on this CPU; prints median tokens per second.

    build/venv/bin/python tools/peer_lstm.py [--precision f32|bf16] [--experts 32] [--top-k 4] [--batch 32] [--steps 8] [--threads 0]

Embedding, nn.LSTM, experts, nn.LSTM, softmax, with the residuals, the sigmoid and the two balancing losses of the paper; the experts are a loop,
each a product over the tokens that chose it. The optimiser is PyTorch's fused AdamW, which is its fastest."""
import argparse
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
parser.add_argument("--width", type=int, default=512)
parser.add_argument("--inner", type=int, default=1024)
parser.add_argument("--experts", type=int, default=32)
parser.add_argument("--top-k", type=int, default=4)
parser.add_argument("--vocabulary", type=int, default=1024)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--length", type=int, default=32)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--threads", type=int, default=0)
parser.add_argument("--cpu", action="store_true", help="seconds of the processor instead of the clock's: of one thread, on a busy machine")
o = parser.parse_args()
clock = time.process_time if o.cpu else time.perf_counter
if o.threads:
    torch.set_num_threads(o.threads)


def cv_squared(x):
    return x.var(unbiased=False) / (x.mean() ** 2 + 1e-10)


class Experts(nn.Module):
    """Noisy top-k gating (equations 3 to 5), importance and load losses (6 to 11), and a loop over experts."""

    def __init__(self):
        super().__init__()
        self.router, self.noise = (nn.Parameter(torch.zeros(o.width, o.experts)) for _ in range(2))
        self.expert = nn.ModuleList(nn.Sequential(nn.Linear(o.width, o.inner, bias=False), nn.ReLU(), nn.Linear(o.inner, o.width, bias=False))
                                    for _ in range(o.experts))

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            clean, std = x.float() @ self.router, F.softplus(x.float() @ self.noise)
            noisy = clean + torch.randn_like(clean) * std
            best, where = noisy.topk(o.top_k + 1, dim=1)
            weight, chosen = best[:, :o.top_k].softmax(1), where[:, :o.top_k]
            inside = torch.zeros_like(clean, dtype=torch.bool).scatter(1, chosen, True)
            rival = torch.where(inside, best[:, o.top_k:], best[:, o.top_k - 1:o.top_k])
            load = (0.5 * (1 + torch.erf((clean - rival) / std / 2 ** 0.5))).sum(0)
            importance = torch.zeros_like(clean).scatter(1, chosen, weight).sum(0)
            loss = 0.1 * cv_squared(importance) + 0.1 * cv_squared(load)
        y = torch.zeros_like(x, dtype=torch.float32)
        for e, expert in enumerate(self.expert):
            token, k = torch.where(chosen == e)
            y.index_add_(0, token, (expert(x[token]) * weight[token, k, None]).float())
        return y, loss


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(o.vocabulary, o.width)
        self.first, self.last = (nn.LSTM(o.width, o.width, batch_first=True) for _ in range(2))
        self.experts = Experts()
        self.head = nn.Linear(o.width, o.vocabulary, bias=False)

    def forward(self, ids, targets, state):
        x = self.embedding(ids)
        h, state[0] = self.first(x, state[0])
        x = x + h
        y, loss = self.experts(x.reshape(-1, o.width))
        x = x + torch.sigmoid(y).view_as(x)
        h, state[1] = self.last(x, state[1])
        x = x + h
        return F.cross_entropy(self.head(x).float().flatten(0, 1), targets.flatten()) + loss


torch.manual_seed(1)
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
state, seconds = [None, None], []
for step in range(o.steps + 2):
    ids = torch.randint(0, o.vocabulary, (o.batch, o.length + 1))
    begin = clock()
    with torch.autocast("cpu", torch.bfloat16, enabled=o.precision == "bf16"):
        loss = model(ids[:, :-1], ids[:, 1:], state)
    loss.backward()
    state = [tuple(s.detach() for s in layer) for layer in state]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(clock() - begin)
median = statistics.median(seconds[2:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"torch {torch.__version__}, {torch.get_num_threads()} threads: {o.precision}, {o.experts} experts, batch {o.batch} x {o.length}: "
      f"{o.batch * o.length / median:.0f} tokens/s, {1000 * median:.0f} ms a step ({1000 * min(seconds):.0f} the fastest), {peak:.2f} GB at most, loss {loss.item():.3f}")
