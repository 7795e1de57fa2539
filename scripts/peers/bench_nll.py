#!/usr/bin/env python3
"""Times GPT-2 124M training steps of nll and prints them as the record its peers print.

    bench_nll.py NLL --batch 4 --context 64 [--steps 10] [--run NAME]

NLL is the program; it is asked by `nll bench --op step --json`.
"""

import argparse
import json
import pathlib
import subprocess

from record import record


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("nll", type=pathlib.Path)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--context", type=int, default=64)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--run", default="")
    chosen = options.parse_args()
    asked = ["bench", "--op", "step", "--batch", str(chosen.batch), "--context", str(chosen.context), "--steps",
             str(chosen.steps), "--json"]
    told = json.loads(subprocess.run([chosen.nll, *asked], check=True, capture_output=True, text=True).stdout)
    times = told["step_seconds"]
    result = record("nll", chosen.batch, chosen.context, [times["median"]], " ".join(["nll", *asked]), chosen.run,
                    threads=told["threads"], sgemm_gflops=round(told["sgemm_gflops"], 2))
    result["step_seconds"] = {key: times[key] if key == "steps" else round(times[key], 4) for key in times}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
