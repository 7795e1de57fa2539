#!/usr/bin/env python3
"""Holds the TensorBoard files of a run against its metrics.jsonl, read by TensorBoard's own readers.

    check_tensorboard.py RUN

What TensorBoard shows of each scalar must be the steps and values (rounded to float32) of metrics.jsonl, also when the
run was interrupted and resumed; the texts must be the samples. Every record's checksums are checked on the way. A step
that was validated again by a resumed run may be there twice with one value. Needs: tensorboard. Exit code: 0 all agree,
1 not.
"""

import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import TENSORS, SCALARS, EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def expected(metrics):
    """Tag -> {step: value} out of metrics.jsonl; the last of equal steps counts."""
    scalars, texts = {}, {}
    for line in metrics.read_text().splitlines():
        event = json.loads(line)
        name = event.pop("event")
        step = event.pop("step")
        event.pop("tokens")
        if name in ("start", "resume", "checkpoint", "end"):
            continue
        for key, value in event.items():
            tag = f"{name}/{key}"
            if isinstance(value, str) and name == "sample":
                texts.setdefault(tag, {})[step] = "    " + value.replace("\n", "\n    ")
            elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
                scalars.setdefault(tag, {})[step] = math.nan if value is None else float32(value)
    return scalars, texts


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = pathlib.Path(sys.argv[1])
    folder = run / "tensorboard"
    files = sorted(folder.glob("events.out.tfevents.*"))
    records = 0
    for file in files:
        for record in RawEventFileLoader(str(file)).Load():  # checks both CRCs of each record
            Event.FromString(record)
            records += 1
    # One loader over all files, as the TensorBoard process has it, with every point kept.
    accumulator = EventAccumulator(str(folder), size_guidance={SCALARS: 0, TENSORS: 0}, purge_orphaned_data=True)
    accumulator.Reload()
    scalars, texts = expected(run / "metrics.jsonl")
    faults = []
    shown = {}
    for tag in accumulator.Tags()["tensors"]:
        shown[tag] = [(event.step, event.tensor_proto.string_val[0].decode()) for event in accumulator.Tensors(tag)]
    for tag in accumulator.Tags()["scalars"]:
        shown[tag] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
    for tag, points in {**scalars, **texts}.items():
        got = shown.pop(tag, [])
        by_step = {}
        for step, value in got:
            same = step not in by_step or by_step[step] == value or (value != value and by_step[step] != by_step[step])
            if not same:
                faults.append(f"{tag}: step {step} has two values, {by_step[step]} and {value}")
            by_step[step] = value
        if sorted(by_step) != sorted(points):
            missing = sorted(set(points) - set(by_step))[:5]
            extra = sorted(set(by_step) - set(points))[:5]
            faults.append(f"{tag}: steps differ, missing {missing}, too many {extra}")
        for step in set(by_step) & set(points):
            a, b = by_step[step], points[step]
            if a != b and not (a != a and b != b):
                faults.append(f"{tag}: step {step} is {a}, expected {b}")
    faults += [f"{tag}: not in metrics.jsonl" for tag in shown if not tag.startswith("run/")]
    for fault in faults[:20]:
        print(fault)
    print(f"{run}: {len(files)} files, {records} records, {len(scalars)} scalars, {len(texts)} texts: "
          f"{'all agree' if not faults else str(len(faults)) + ' faults'}")
    sys.exit(1 if faults else 0)


main()
