#!/usr/bin/env python3
"""Times GPT-2 124M training steps in PyTorch on the CPU in FP32: forward, backward, clip, fused AdamW.

    bench_pytorch.py --batch 4 --context 64 [--steps 10] [--compile] [--run NAME]

Prints one JSON record. Attention is scaled_dot_product_attention (the blocked CPU kernel), the head is tied, and the
loss is cross_entropy over FP32 logits, as a careful PyTorch user would write it.
"""

import argparse
import json
import shlex
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

from record import CONTEXT, HEADS, LAYERS, VOCABULARY, WIDTH, record


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, HEADS, C // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, VOCABULARY), targets.reshape(-1))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--context", type=int, default=64)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--warmup", type=int, default=2)
    options.add_argument("--compile", action="store_true", help="torch.compile the model")
    options.add_argument("--run", default="", help="name of the session of measurements this is a part of")
    chosen = options.parse_args()

    torch.manual_seed(1)
    model = GPT2()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    step_model = torch.compile(model) if chosen.compile else model
    data = torch.randint(VOCABULARY, (chosen.steps + chosen.warmup, chosen.batch, chosen.context + 1))

    times = []
    for batch in data:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = step_model(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - start)

    mode = "compile" if chosen.compile else "eager"
    print(json.dumps(record(f"pytorch {torch.__version__.split('+')[0]} {mode}", chosen.batch, chosen.context,
                            times[chosen.warmup:], shlex.join(["scripts/peers/bench_pytorch.py", *sys.argv[1:]]), chosen.run,
                            threads=torch.get_num_threads())))


if __name__ == "__main__":
    main()
