"""What every measurement is written down as: one JSON object of docs/benchmarks/, the same keys for every program."""

import datetime
import os

# GPT-2 124M, the model all programs here are timed on.
LAYERS, HEADS, WIDTH, CONTEXT, VOCABULARY = 12, 12, 768, 1024, 50257
PARAMETERS = VOCABULARY * WIDTH + CONTEXT * WIDTH + LAYERS * (12 * WIDTH * WIDTH + 13 * WIDTH) + 2 * WIDTH


def flops_per_token(context):
    """Forward and backward of one token: 6 N for the matrices and 6 L C T for causal attention (llm.c counts the same)."""
    return 6 * PARAMETERS + 6 * LAYERS * WIDTH * context


def processor():
    with open("/proc/cpuinfo") as lines:
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{model}, {len(os.sched_getaffinity(0))} threads"


def record(program, batch, context, step_seconds, command, run, **more):
    """step_seconds: times of single optimizer steps; the median is reported, the fastest and slowest beside it."""
    times = sorted(step_seconds)
    median = times[len(times) // 2] if len(times) % 2 else sum(times[len(times) // 2 - 1 : len(times) // 2 + 1]) / 2
    tokens_per_second = batch * context / median
    return {
        "program": program,
        "model": "gpt2-124m",
        "precision": "fp32",
        "batch": batch,
        "context": context,
        "tokens_per_second": round(tokens_per_second, 2),
        "gflops": round(tokens_per_second * flops_per_token(context) / 1e9, 2),
        "step_seconds": {"median": round(median, 4), "minimum": round(times[0], 4), "maximum": round(times[-1], 4), "steps": len(times)},
        "device": processor(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "command": command,
        "run": run,
        **more,
    }
