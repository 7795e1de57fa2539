#!/usr/bin/env python3
"""Of each program's records of several rounds, one JSONL file a program, keeps the one with the median rate.

    median_records.py FILE...      prints a JSON list, fastest first

Every record gets the sgemm rate that nll measured in its kept round, and the rates of all rounds.
"""

import json
import pathlib
import sys

kept = []
for name in sys.argv[1:]:
    rounds = [json.loads(line) for line in pathlib.Path(name).read_text().splitlines() if line.startswith("{")]
    if not rounds:
        continue
    by_rate = sorted(rounds, key=lambda one: one["tokens_per_second"])
    middle = by_rate[len(by_rate) // 2]
    middle["rounds_tokens_per_second"] = [one["tokens_per_second"] for one in rounds]
    kept.append(middle)
sgemm = next((one["sgemm_gflops"] for one in kept if "sgemm_gflops" in one), None)
for one in kept:
    one["sgemm_gflops"] = sgemm
print(json.dumps(sorted(kept, key=lambda one: -one["tokens_per_second"]), indent=2))
