#!/usr/bin/env python3
"""Makes tests/golden/lstm.safetensors: what PyTorch's nn.LSTM says of a few sequences, plain and projected, and its gradients.

    build/venv/bin/python tools/golden_lstm.py [FILE]

Of each case: x (N, D), the sequences behind one another, their lengths, h0 and c0; the weights, whose order of gates is i f g o as it is here;
y, hn, cn; and for a random dy the gradients of x and of the weights. Computed in double, kept in single. nn.LSTM adds two biases, of which we
have the sum, and we add one to the forget gate's: bias is what is left when that is taken away. Neither building nor testing needs this script."""
import sys

import torch
from safetensors.torch import save_file

LENGTHS = [5, 1, 7, 3]
D = 6


def sequences(x):
    return torch.nn.utils.rnn.pack_sequence(torch.split(x, LENGTHS), enforce_sorted=False)


def case(name, units, projected):
    lstm = torch.nn.LSTM(D, units, proj_size=D if projected else 0).double()
    with torch.no_grad():
        for p in lstm.parameters():
            p.copy_(p.float().double() * 2)  # values that single holds, and larger ones than the default's, so that gates open and close
    x = torch.randn(sum(LENGTHS), D).double().requires_grad_()
    h0, c0 = torch.randn(1, len(LENGTHS), D).double(), torch.randn(1, len(LENGTHS), units).double()
    y, (hn, cn) = lstm(sequences(x), (h0, c0))
    y = torch.cat(torch.nn.utils.rnn.unpack_sequence(y))
    dy = torch.randn_like(y)
    y.backward(dy)
    forget = torch.zeros(4 * units).double()
    forget[units:2 * units] = 1
    tensors = dict(x=x, h0=h0[0], c0=c0[0], y=y, hn=hn[0], cn=cn[0], dy=dy, dx=x.grad, input=lstm.weight_ih_l0, recurrent=lstm.weight_hh_l0,
                   bias=(lstm.bias_ih_l0 + lstm.bias_hh_l0 - forget)[None], dinput=lstm.weight_ih_l0.grad, drecurrent=lstm.weight_hh_l0.grad,
                   dbias=lstm.bias_ih_l0.grad[None])
    if projected:
        tensors.update(projection=lstm.weight_hr_l0, dprojection=lstm.weight_hr_l0.grad)
    return {f"{name}.{key}": value.detach().float().contiguous() for key, value in tensors.items()}


torch.manual_seed(5)
path = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/lstm.safetensors"
save_file({**case("plain", D, False), **case("projected", 2 * D, True)}, path)
print(f"torch {torch.__version__}: {path}")
