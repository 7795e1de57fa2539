#!/usr/bin/env python3
"""Holds `nll eval --choice` against lm-evaluation-harness: the same questions, the same model, the same answers.

    check_choice.py NLL RUN-or-CHECKPOINT QUESTIONS.jsonl [--limit N]

QUESTIONS are plain records of `nll eval --choice` (query, choices, answer). They are written in HellaSwag's own form, with
the marks that its cleaning takes out ("[title]", "[step]", double spaces) in some of them, and are read by both programs:
the harness with its own `process_docs` and `multiple_choice` task on the checkpoint as transformers opens it, nll as it is.
Compared are the answers question by question, by the sum of log-probabilities (`acc`) and by that over the ending's
length (`acc_norm`). Needs lm-eval, transformers and torch. Exit code: 0 when all but near ties agree, 1 when not.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import lm_eval
import lm_eval.tasks.hellaswag.utils as hellaswag
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

TIE = 1e-3  # nats, or nats a character: closer endings may be told apart by rounding alone


def in_hellaswags_form(records):
    for index, record in enumerate(records):
        words = record["query"].split(" ")
        middle = max(len(words) * 2 // 3, 1)
        ends = record["choices"]
        if index % 4 == 1:
            words.insert(middle, "[step]")
        if index % 4 == 2:
            ends = [" " + end + " [title] " + end for end in ends]
        if index % 4 == 3:
            words.insert(1, "")
        first, second = " ".join(words[:middle]), " ".join(words[middle:])
        yield {
            "ind": index,
            "activity_label": "Reading aloud",
            "ctx_a": first,
            "ctx_b": second,
            "ctx": first + " " + second,
            "endings": ends,
            "label": str(record["answer"]),
        }


def harness_answers(checkpoint, questions):
    task = ConfigurableTask(
        config={
            "task": "hellaswag_of_a_file",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"validation": str(questions)}},
            "output_type": "multiple_choice",
            "validation_split": "validation",
            "process_docs": hellaswag.process_docs,
            "doc_to_text": "{{query}}",
            "doc_to_target": "{{label}}",
            "doc_to_choice": "choices",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }
    )
    model = HFLM(pretrained=str(checkpoint), device="cpu", dtype="float32", batch_size=32)
    found = lm_eval.evaluate(lm=model, task_dict={"hellaswag_of_a_file": task}, log_samples=True, bootstrap_iters=0)
    scores = {}
    for sample in found["samples"]["hellaswag_of_a_file"]:
        sums = [float(response[0]) for response in sample["filtered_resps"]]
        lengths = [len(choice) for choice in sample["doc"]["choices"]]
        scores[sample["doc_id"]] = sums, [s / n for s, n in zip(sums, lengths)]
    return found["results"]["hellaswag_of_a_file"], [scores[index] for index in sorted(scores)]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("nll", type=pathlib.Path)
    options.add_argument("checkpoint", type=pathlib.Path)
    options.add_argument("questions", type=pathlib.Path)
    options.add_argument("--limit", type=int, default=1000)
    chosen = options.parse_args()
    folder = chosen.checkpoint
    if (folder / "checkpoints").is_dir():
        folder = max((folder / "checkpoints").glob("step_*"))
    records = [json.loads(line) for line in chosen.questions.read_text().splitlines()[: chosen.limit]]

    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "questions.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in in_hellaswags_form(records)))
        command = [chosen.nll.resolve(), "eval", folder, "--choice", path, "--json"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}\nexit code {done.returncode}\n{done.stderr}")
        ours = json.loads(done.stdout)["scores"]
        results, theirs = harness_answers(folder, path)

    rows, agrees = [], len(theirs) == len(records)
    for name, metric, which in (("sum", "acc,none", 0), ("character", "acc_norm,none", 1)):
        other = ties = 0
        for answer, scores in zip(ours[name]["chosen"], theirs):
            best = max(scores[which])
            if scores[which].index(best) != answer:
                near = best - scores[which][answer] < TIE
                ties, other = ties + near, other + (not near)
        agrees = agrees and other == 0
        rows.append((metric.split(",")[0], name, results[metric], ours[name]["accuracy"], other, ties))

    print("| harness | nll | questions | accuracy, harness | accuracy, nll | other answers | of them near ties |")
    print("|---|---|---|---|---|---|---|")
    for theirs_name, name, their_accuracy, accuracy, other, ties in rows:
        print(f"| {theirs_name} | {name} | {len(records)} | {their_accuracy:.4f} | {accuracy:.4f} | {other + ties} | {ties} |")
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
