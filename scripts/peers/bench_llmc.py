#!/usr/bin/env python3
"""Times llm.c's train_gpt2.c on the CPU.

    bench_llmc.py FOLDER --batch 4 --context 64 [--steps 10] [--compiler gcc] [--run NAME]

FOLDER is a checkout of https://github.com/karpathy/llm.c outside this repository. The program is built by its own
Makefile (-Ofast -march=native, OpenMP); batch and context are constants of its source, so a copy with other constants
is built where others are asked for. It reads gpt2_124M.bin and token shards, which are written here with random
content, since the time of a step does not depend on it. Prints one JSON record.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import struct
import subprocess
import sys

import numpy

from record import CONTEXT, HEADS, LAYERS, VOCABULARY, WIDTH, record

PADDED = 50304  # rows of the token embedding in llm.c's files


def write_weights(path):
    """gpt2_124M.bin: 256 int32 of header, then 16 tensors of float32 in llm.c's order."""
    L, C = LAYERS, WIDTH
    normal, one, zero = "normal", "one", "zero"
    tensors = [
        (PADDED * C, normal), (CONTEXT * C, normal), (L * C, one), (L * C, zero), (L * 3 * C * C, normal), (L * 3 * C, zero),
        (L * C * C, normal), (L * C, zero), (L * C, one), (L * C, zero), (L * 4 * C * C, normal), (L * 4 * C, zero),
        (L * 4 * C * C, normal), (L * C, zero), (C, one), (C, zero),
    ]
    random = numpy.random.default_rng(1)
    with open(path, "wb") as file:
        header = [20240326, 3, CONTEXT, VOCABULARY, L, HEADS, C, PADDED]
        file.write(struct.pack("<256i", *header, *[0] * (256 - len(header))))
        for size, kind in tensors:
            if kind == normal:
                file.write((random.standard_normal(size, dtype=numpy.float32) * 0.02).tobytes())
            else:
                file.write(numpy.full(size, 1.0 if kind == one else 0.0, dtype=numpy.float32).tobytes())


def write_shard(path, tokens, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = numpy.random.default_rng(seed).integers(0, VOCABULARY, tokens, dtype=numpy.uint16)
    path.write_bytes(struct.pack("<256i", 20240520, 1, tokens, *[0] * 253) + ids.tobytes())


def build(folder, batch, context, compiler):
    """Makes the program for this batch and context; returns its name."""
    source = (folder / "train_gpt2.c").read_text()
    if f"int B = {batch};" in source and f"int T = {context};" in source:
        changed, name = source, "train_gpt2"
    else:
        changed = re.sub(r"int B = \d+;", f"int B = {batch};", source, count=1)
        changed = re.sub(r"int T = \d+;", f"int T = {context};", changed, count=1)
        name = f"train_gpt2_b{batch}_t{context}"
    make = ["make", "-s", f"CC={compiler}", "train_gpt2"]
    dry = subprocess.run([*make, "-n", "-B"], cwd=folder, check=True, capture_output=True, text=True).stdout
    command = next(line for line in dry.splitlines() if line.startswith(compiler + " "))
    (folder / f"{name}_{compiler}.c").write_text(changed)
    command = command.replace("train_gpt2.c", f"{name}_{compiler}.c").replace("-o train_gpt2", f"-o {name}_{compiler}")
    subprocess.run(shlex.split(command), cwd=folder, check=True)
    return f"{name}_{compiler}", command


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=pathlib.Path)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--context", type=int, default=64)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--warmup", type=int, default=1)
    options.add_argument("--compiler", default="gcc")
    options.add_argument("--run", default="")
    chosen = options.parse_args()
    folder = chosen.folder.resolve()

    if not (folder / "gpt2_124M.bin").exists():
        write_weights(folder / "gpt2_124M.bin")
    for split, seed in (("train", 2), ("val", 3)):
        shard = folder / f"dev/data/tinyshakespeare/tiny_shakespeare_{split}.bin"
        if not shard.exists():
            write_shard(shard, 200_000, seed)
    program, built_by = build(folder, chosen.batch, chosen.context, chosen.compiler)

    threads = len(os.sched_getaffinity(0))
    times = []
    process = subprocess.Popen(["stdbuf", "-oL", f"./{program}"], cwd=folder, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    try:
        for line in process.stdout:
            took = re.match(r"step \d+: train loss [\d.]+ \(took ([\d.]+) ms\)", line)
            if took:
                times.append(float(took[1]) / 1000)
            if len(times) == chosen.steps + chosen.warmup:
                break
    finally:
        process.kill()
        process.wait()
    if len(times) <= chosen.warmup:
        sys.exit(f"{program}: {len(times)} steps were timed, more than {chosen.warmup} are needed (at most 41 run)")
    print(json.dumps(record(f"llm.c train_gpt2.c ({chosen.compiler})", chosen.batch, chosen.context, times[chosen.warmup:],
                            f"{built_by} && OMP_NUM_THREADS={threads} ./{program}", chosen.run, threads=threads)))


if __name__ == "__main__":
    main()
