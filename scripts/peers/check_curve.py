#!/usr/bin/env python3
"""Trains the same GPT-2 with nll and with PyTorch and compares the losses and gradient norms of every step.

    check_curve.py NLL TOKENS [--steps 200] [--device cpu|cuda] [--precision fp32|bf16] [--curve FILE]

TOKENS is a folder of `nll tokenize`. Both start from weights that transformers drew and see the same tokens in the same
order: which window of the text is which sample is computed here from docs/formats.md ("Samples of a training run"), not
asked of nll. PyTorch runs transformers' own GPT-2, AdamW and clip_grad_norm_ on its GPU where it has one, else on the CPU;
bf16 is its autocast. --curve keeps step and both losses, a line each. Exit code: 0 they agree, 1 not.
"""

import argparse
import array
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import torch
import transformers

transformers.utils.logging.disable_progress_bar()

LAYERS, HEADS, WIDTH, CONTEXT, SEQUENCES, SEED = 4, 4, 256, 128, 8, 1337
RATE, BETAS, DECAY, CLIP = 1e-3, (0.9, 0.95), 0.1, 1.0
SHUFFLE = 3  # the purpose of the random stream that orders samples
MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def philox(seed, stream, index):
    """Philox4x32-10 (Salmon et al. 2011): four words of block `index` of a stream."""
    key = [seed & MASK32, seed >> 32]
    c = [index & MASK32, index >> 32, stream & MASK32, stream >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ key[0], second & MASK32, first >> 32 ^ c[3] ^ key[1], first & MASK32]
        key = [key[0] + 0x9E3779B9 & MASK32, key[1] + 0xBB67AE85 & MASK32]
    return c


def permuted(seed, epoch, count, index):
    half = ((count - 1).bit_length() + 1) // 2
    mask = 2**half - 1
    value = index
    while True:
        left, right = value >> half, value & mask
        for turn in range(8):
            left, right = right, (left ^ philox(seed, SHUFFLE << 56 | epoch, turn << 32 | right)[0]) & mask
        value = left << half | right
        if value < count:
            return value


class Samples:
    """Windows of one token file in the order of a run."""

    def __init__(self, folder):
        files = sorted(folder.glob("train_*.bin"))
        if len(files) != 1:
            sys.exit(f"check_curve: {folder}: {len(files)} training files (expected 1)")
        content = files[0].read_bytes()
        count, width = struct.unpack_from("<QI", content, 16)
        self.vocabulary = struct.unpack_from("<Q", content, 32)[0]
        self.tokens = array.array("H" if width == 2 else "I", content[256:])
        assert len(self.tokens) == count
        self.windows = max(1, (count - 1) // CONTEXT - 1)

    def sample(self, index):
        epoch, index = divmod(index, self.windows)
        room = min(CONTEXT - 1, len(self.tokens) - 1 - self.windows * CONTEXT)
        words = philox(SEED, SHUFFLE << 56 | epoch, 1 << 63)
        begin = (words[1] << 32 | words[0]) % (room + 1) + permuted(SEED, epoch, self.windows, index) * CONTEXT
        return self.tokens[begin : begin + CONTEXT + 1].tolist()


def warmup(chosen):
    return min(20, chosen.steps // 2)


def train_nll(chosen, samples, model, scratch):
    start, config = scratch / "start", scratch / "config.json"
    model.save_pretrained(start)
    shutil.copy(chosen.tokens / "tokenizer.json", start)
    config.write_text(json.dumps({
        "run": {"directory": str(scratch / "run"), "initial_weights": str(start), "seed": SEED},
        "data": {"train": str(chosen.tokens.resolve())},
        "batch": {"tokens_per_step": SEQUENCES * CONTEXT},
        "optimizer": {"learning_rate": RATE, "beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": DECAY, "clip_norm": CLIP},
        "schedule": {"kind": "constant", "warmup_steps": warmup(chosen), "steps": chosen.steps},
        "evaluation": {"every_steps": 0, "tokens": CONTEXT},
        "device": chosen.device,
        "precision": {"compute": chosen.precision},
    }))
    done = subprocess.run([chosen.nll, "train", config], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"check_curve: nll train: exit code {done.returncode}\n{done.stderr[-800:]}")
    events = map(json.loads, (scratch / "run" / "metrics.jsonl").read_text().splitlines())
    return [(event["loss"], event["gradient_norm"]) for event in events if event["event"] == "train"]


def train_pytorch(chosen, samples, model):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).train()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=RATE, betas=BETAS, eps=1e-8)
    curve = []
    for step in range(chosen.steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / warmup(chosen))
        batch = torch.tensor([samples.sample(step * SEQUENCES + i) for i in range(SEQUENCES)], device=device)
        with torch.autocast(device, torch.bfloat16, enabled=chosen.precision == "bf16"):
            logits = model(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((loss.item(), norm.item()))
    return curve, device


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("nll", type=pathlib.Path)
    options.add_argument("tokens", type=pathlib.Path)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where nll trains")
    options.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options.add_argument("--curve", type=pathlib.Path)
    chosen = options.parse_args()
    samples = Samples(chosen.tokens)
    torch.manual_seed(1)
    shape = transformers.GPT2Config(vocab_size=samples.vocabulary, n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, n_positions=CONTEXT,
                                    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(shape)
    with tempfile.TemporaryDirectory() as scratch:
        ours = train_nll(chosen, samples, model, pathlib.Path(scratch))
    theirs, device = train_pytorch(chosen, samples, model)
    if len(ours) != chosen.steps:
        sys.exit(f"check_curve: {len(ours)} train events of nll (expected {chosen.steps})")
    if chosen.curve:
        chosen.curve.write_text("".join(f"{i + 1} {a[0]} {b[0]}\n" for i, (a, b) in enumerate(zip(ours, theirs))))

    differences = [abs(a[0] - b[0]) for a, b in zip(ours, theirs)]
    norms = [abs(a[1] - b[1]) / b[1] for a, b in zip(ours, theirs)]
    late = len(differences) // 2
    mean_late = abs(sum(a[0] - b[0] for a, b in zip(ours[late:], theirs[late:]))) / (len(ours) - late)
    # What rounds otherwise parts the two slowly: the first steps say that both compute the same, the last that they learn it.
    first, early, later = (1e-5, 1e-4, 1e-3) if chosen.precision == "fp32" else (5e-3, 3e-2, 3e-2)
    rows = [("loss of the first step differs by", differences[0], first),
            ("largest difference of a loss in the first 20 steps", max(differences[:20]), early),
            ("largest relative difference of a gradient norm in the first 20 steps", max(norms[:20]), 10 * early),
            ("mean losses of the later half differ by", mean_late, later)]
    print(f"GPT-2 of {LAYERS} x {WIDTH}, {chosen.steps} steps of {SEQUENCES} x {CONTEXT} tokens, {chosen.precision}; nll on {chosen.device}, "
          f"torch {torch.__version__.split('+')[0]} on {device}; last losses {ours[-1][0]:.4f} and {theirs[-1][0]:.4f}")
    for claim, found, allowed in rows:
        print(f"{'agrees ' if found <= allowed else 'DIFFERS'}  {claim} {found:.1e} (allowed: {allowed:.0e})")
    sys.exit(0 if all(found <= allowed for _, found, allowed in rows) else 1)


if __name__ == "__main__":
    main()
