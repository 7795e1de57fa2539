#!/usr/bin/env python3
"""Times GPT-2 training steps in PyTorch on one GPU in BF16, as a careful user writes them today.

    gpu_pytorch.py --model 124m [--batch 64] [--context 1024] [--tokens-per-step 524288] [--steps 10] [--run NAME]

torch.compile, scaled_dot_product_attention (FlashAttention or cuDNN, PyTorch's choice), BF16 by autocast with FP32
weights, cross-entropy in FP32 on BF16 logits, gradients added up over micro-batches in FP32, clipping, fused AdamW; the
vocabulary is padded to 50304 as in nll. Loss and norm are read each step. Without --batch the largest of 64, 32, 16, 8,
4 that fits is taken. Prints one JSON record with the keys of `nll bench --json`.
"""

import argparse
import datetime
import gc
import json
import shlex
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {"124m": (12, 12, 768), "355m": (24, 16, 1024), "774m": (36, 20, 1280), "1558m": (48, 25, 1600)}
VOCABULARY, STORED, POSITIONS = 50257, 50304, 1024


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, layers, heads, width):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(STORED, width), nn.Embedding(POSITIONS, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().view(-1, STORED), targets.reshape(-1))


def time_steps(chosen, batch):
    layers, heads, width = SIZES[chosen.model]
    micro_batches = max(chosen.tokens_per_step // (batch * chosen.context), 1)
    torch.manual_seed(1)
    model = GPT2(layers, heads, width).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = torch.compile(model)
    data = torch.randint(VOCABULARY, (min(micro_batches, 8), batch, chosen.context + 1), device="cuda")
    times = []
    for _ in range(chosen.warmup + chosen.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        total = torch.zeros((), device="cuda")
        for micro in range(micro_batches):
            part = data[micro % len(data)]
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(part[:, :-1].contiguous(), part[:, 1:].contiguous()) / micro_batches
            loss.backward()
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total.item(), norm.item()
        times.append(time.perf_counter() - start)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    flops = 6 * parameters + 6 * layers * width * chosen.context
    return times[chosen.warmup:], flops, batch * chosen.context * micro_batches


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", choices=SIZES, default="124m")
    options.add_argument("--batch", type=int, help="sequences of a micro-batch; default: the most that fits")
    options.add_argument("--context", type=int, default=1024)
    options.add_argument("--tokens-per-step", type=int, default=524288)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--warmup", type=int, default=3)
    options.add_argument("--peak-tflops", type=float, default=0, help="published BF16 peak; default: by the GPU's name")
    options.add_argument("--run", default="", help="name of the series of measurements this is a part of")
    chosen = options.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_pytorch: PyTorch sees no GPU")
    torch.set_float32_matmul_precision("high")

    for batch in [chosen.batch] if chosen.batch else [64, 32, 16, 8, 4]:
        try:
            times, flops, tokens = time_steps(chosen, batch)
            break
        except torch.cuda.OutOfMemoryError:
            pass
        # Out of the handler, whose traceback holds on to the tensors.
        gc.collect()
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    else:
        sys.exit("gpu_pytorch: out of memory at every batch")
    times.sort()
    median = times[len(times) // 2]
    name = torch.cuda.get_device_name()
    # The two that nll's peaks are compared on; others by --peak-tflops.
    known = {"NVIDIA H100 80GB HBM3": 989.4, "NVIDIA H200": 989.4}
    peak = (chosen.peak_tflops or known.get(name, 0)) * 1e12
    print(json.dumps({
        "program": f"pytorch {torch.__version__.split('+')[0]} compile",
        "model": f"gpt2-{chosen.model}",
        "precision": "bf16",
        "batch": batch,
        "context": chosen.context,
        "tokens_per_step": tokens,
        "tokens_per_second": round(tokens / median, 2),
        "mfu": round(flops * tokens / median / peak, 4) if peak else None,
        "step_seconds": {"median": round(median, 5), "minimum": round(times[0], 5), "maximum": round(times[-1], 5), "steps": len(times)},
        "gflops": round(flops * tokens / median / 1e9, 1),
        "memory_bytes": torch.cuda.max_memory_allocated(),
        "device": name,
        "software": f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "command": shlex.join(["scripts/peers/gpu_pytorch.py", *sys.argv[1:]]),
        "run": chosen.run,
    }))


if __name__ == "__main__":
    main()
