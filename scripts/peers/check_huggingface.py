#!/usr/bin/env python3
"""Holds nll against Hugging Face transformers: the same files, the same ids, the same logits.

    check_huggingface.py NLL RUN-or-CHECKPOINT [--data TOKENS] [--markdown]

Out: AutoModelForCausalLM and AutoTokenizer open a checkpoint that nll wrote, and give the ids and logits nll gives.
In: nll opens a GPT-2 folder that transformers saved (random weights, another shape, both with and without the
`transformer.` prefix) and gives the logits transformers gives; with --data (token files made with the tokenizer of
that checkpoint) a run starts from it too.
NLL is the program. It is asked for logits by `nll eval FOLDER --text FILE --logits OUT.safetensors`, which holds
"tokens" (n) int32 and "logits" (n, vocabulary) float32 of the first window of the text. Exit code: 0 all agree, 1 not.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
import transformers

TOLERANCE = 1e-4
TEXT = "In the beginning was the Word, and it's 1st of 12 (twelve) words:\n\n\tna\u00efve caf\u00e9 \u4e2d\u6587 \U0001f389  two  spaces\r\n"

rows = []


def report(claim, value, limit, agrees):
    rows.append((claim, value, limit, agrees))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit code {done.returncode}\n{done.stderr}")
    return done.stdout


def nll_logits(nll, folder, scratch):
    text, out = scratch / "text.txt", scratch / "logits.safetensors"
    text.write_bytes(TEXT.encode())
    out.unlink(missing_ok=True)
    run(nll, "eval", folder, "--text", text, "--logits", out)
    tensors = safetensors.torch.load_file(out)
    return tensors["tokens"].long(), tensors["logits"]


def compare(claim, nll, folder, scratch, model):
    ids, logits = nll_logits(nll, folder, scratch)  # the ids begin with end-of-text, the start of a document
    with torch.no_grad():
        theirs = model(ids[None]).logits[0]
    difference = (logits - theirs).abs().max().item()
    report(f"{claim}: largest difference of a logit", f"{difference:.1e}", f"{TOLERANCE:.0e}", difference <= TOLERANCE)
    return ids


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("nll", type=pathlib.Path)
    options.add_argument("checkpoint", type=pathlib.Path)
    options.add_argument("--data", type=pathlib.Path)
    options.add_argument("--markdown", action="store_true", help="print the table for docs/")
    chosen = options.parse_args()
    nll = chosen.nll.resolve()
    folder = chosen.checkpoint
    if (folder / "checkpoints").is_dir():
        folder = sorted((folder / "checkpoints").glob("step_*"))[-1]

    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ids = compare("checkpoint of nll, opened by transformers", nll, folder, scratch, model)
        theirs = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
        report("ids of a text by AutoTokenizer", f"{len(theirs)} ids", "equal", theirs == ids.tolist()[1:])
        report("text decoded by AutoTokenizer", f"{len(TEXT)} characters", "equal",
               tokenizer.decode(theirs, clean_up_tokenization_spaces=False) == TEXT)

        torch.manual_seed(1)
        shape = transformers.GPT2Config(vocab_size=model.config.vocab_size, n_layer=3, n_head=4, n_embd=64, n_positions=128,
                                        eos_token_id=model.config.eos_token_id, bos_token_id=model.config.bos_token_id)
        saved = transformers.GPT2LMHeadModel(shape).eval()
        with torch.no_grad():  # biases and norms away from 0 and 1, so that a swapped tensor cannot hide
            for parameter in saved.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        for prefix in (True, False):
            target = scratch / ("with_prefix" if prefix else "without_prefix")
            (saved if prefix else saved.transformer).save_pretrained(target)
            shutil.copy(folder / "tokenizer.json", target)
            compare(f"folder of transformers {'with' if prefix else 'without'} `transformer.` prefix, opened by nll",
                    nll, target, scratch, saved)

        if chosen.data:
            config = scratch / "config.json"
            started = scratch / "run"
            config.write_text(json.dumps({
                "run": {"directory": str(started), "initial_weights": str(scratch / "with_prefix")},
                "data": {"train": str(chosen.data)},
                "model": {"layers": 3, "heads": 4, "width": 64, "context": 128, "vocabulary": shape.vocab_size},
                "batch": {"tokens_per_step": 256},
                "optimizer": {"learning_rate": 0.0},
                "schedule": {"kind": "constant", "warmup_steps": 0, "steps": 1},
            }))
            run(nll, "train", config)
            compare("run started from that folder, one step at learning rate 0", nll, started, scratch, saved)

    good = all(agrees for *_, agrees in rows)
    if chosen.markdown:
        print(f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}\n")
        print("| what | found | allowed | |\n|---|---|---|---|")
        for claim, value, limit, agrees in rows:
            print(f"| {claim} | {value} | {limit} | {'agrees' if agrees else 'DIFFERS'} |")
    else:
        for claim, value, limit, agrees in rows:
            print(f"{'agrees ' if agrees else 'DIFFERS'}  {claim}: {value} (allowed: {limit})")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
