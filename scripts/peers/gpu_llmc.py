#!/usr/bin/env python3
"""Times GPT-2 training steps of llm.c on one GPU in BF16, as its README advises for an H100.

    gpu_llmc.py PROGRAM --model 124m [--batch 64] [--tokens-per-step 524288] [--steps 5] [--run NAME]

PROGRAM is its train_gpt2cu (scripts/peers/build_gpu_llmc.sh). FP32 master weights, cuDNN attention, no recomputation, GELU
fused as its default for the GPU; random tokens. The time of a step is the one it prints, of events on the GPU around a
whole step; the first ones are not counted. Without --batch the largest of 64, 32, 16, 8, 4 that fits is taken. Prints one
JSON record with the keys of `nll bench --json`.
"""

import argparse
import array
import datetime
import json
import pathlib
import random
import re
import shlex
import subprocess
import sys
import tempfile

DEPTHS = {"124m": 12, "355m": 24, "774m": 36, "1558m": 48}
WIDTHS = {"124m": 768, "355m": 1024, "774m": 1280, "1558m": 1600}
CONTEXT, STORED, WARMUP = 1024, 50304, 3
PEAKS = {"NVIDIA H100 80GB HBM3": 989.4e12, "NVIDIA H200": 989.4e12}


def write_tokens(path, count):
    """A token shard as llm.c reads it: 256 numbers of 4 bytes (magic, version, count), then 2 bytes a token."""
    draw = random.Random(1)
    with open(path, "wb") as file:
        array.array("i", [20240520, 1, count] + [0] * 253).tofile(file)
        array.array("H", (draw.randrange(50257) for _ in range(count))).tofile(file)


def flops_per_token(model):
    layers, width = DEPTHS[model], WIDTHS[model]
    parameters = STORED * width + CONTEXT * width + layers * (12 * width * width + 13 * width) + 2 * width
    return 6 * parameters + 6 * layers * width * CONTEXT


def steps_of(output):
    """Milliseconds of each step, from lines "step    1/8 | loss ... | 1234.56 ms | ..."."""
    return [float(ms) for ms in re.findall(r"^step +\d+/\d+ \|.*\| ([0-9.]+) ms \|", output, re.MULTILINE)]


def device_of(output):
    return re.search(r"^\| device +\| (.*?) +\|$", output, re.MULTILINE).group(1)


def command(program, model, batch, tokens, steps, shard):
    # Validation on one batch at both ends, which cannot be switched off; no samples, no checkpoints, no log.
    return [str(program), "-i", shard, "-j", shard, "-e", f"d{DEPTHS[model]}", "-b", str(batch), "-t", str(CONTEXT), "-d", str(tokens),
            "-x", str(steps), "-r", "0", "-c", "0.1", "-l", "0.0001", "-v", "1000000", "-m", "1", "-s", "0", "-h", "0"]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", type=pathlib.Path)
    options.add_argument("--model", choices=DEPTHS, default="124m")
    options.add_argument("--batch", type=int, help="sequences of a micro-batch; default: the most that fits")
    options.add_argument("--tokens-per-step", type=int, default=524288)
    options.add_argument("--steps", type=int, default=5)
    options.add_argument("--run", default="", help="name of the series of measurements this is a part of")
    chosen = options.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        shard = str(pathlib.Path(folder) / "tokens.bin")
        write_tokens(shard, max(chosen.tokens_per_step, 64 * CONTEXT) + 1)
        for batch in [chosen.batch] if chosen.batch else [64, 32, 16, 8, 4]:
            asked = command(chosen.program.resolve(), chosen.model, batch, chosen.tokens_per_step, WARMUP + chosen.steps, shard)
            done = subprocess.run(asked, capture_output=True, text=True, cwd=folder)
            if done.returncode == 0:
                break
            if "out of memory" not in done.stdout + done.stderr:
                sys.exit(f"gpu_llmc: exit code {done.returncode}: {(done.stdout + done.stderr)[-400:]}")
        else:
            sys.exit("gpu_llmc: out of memory at every batch")
    times = sorted(ms / 1e3 for ms in steps_of(done.stdout)[WARMUP:])
    if not times:
        sys.exit(f"gpu_llmc: no step in its output: {done.stdout[-400:]}")
    median = times[len(times) // 2]
    device = device_of(done.stdout)
    rate = chosen.tokens_per_step / median
    print(json.dumps({
        "program": "llm.c cuDNN",
        "model": f"gpt2-{chosen.model}",
        "precision": "bf16",
        "batch": batch,
        "context": CONTEXT,
        "tokens_per_step": chosen.tokens_per_step,
        "tokens_per_second": round(rate, 2),
        "mfu": round(rate * flops_per_token(chosen.model) / PEAKS[device], 4) if device in PEAKS else None,
        "step_seconds": {"median": round(median, 5), "minimum": round(times[0], 5), "maximum": round(times[-1], 5), "steps": len(times)},
        "gflops": round(rate * flops_per_token(chosen.model) / 1e9, 1),
        "device": device,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "command": shlex.join(["train_gpt2cu", *asked[1:]]).replace(shard, "TOKENS"),
        "run": chosen.run,
    }))


if __name__ == "__main__":
    main()
