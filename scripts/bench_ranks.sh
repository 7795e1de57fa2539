#!/usr/bin/env bash
# What ranks cost and gain on this machine's CPU, as ratios within one run: 2 ranks of one thread against 1 rank of two
# threads, and, over a cable of a given rate between two hosts, gradients that travel during the backward pass against
# gradients that travel after it. Needs mpirun; the second part root.
#   scripts/bench_ranks.sh [--rounds N] [--rate RATE]        default: 3 rounds, 1gbit
set -euo pipefail
rounds=3 rate=1gbit
while [[ $# -gt 0 ]]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --rate) rate=$2 ;;
    *) echo "bench_ranks: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
here=$(cd "$(dirname "$0")/.." && pwd)
nll=$here/build/cpu/nll
[[ -x $nll ]] || { echo "bench_ranks: $nll is missing; build it first: cmake --preset cpu && cmake --build build/cpu" >&2; exit 2; }
work=$(mktemp -d "${TMPDIR:-/tmp}/nll-ranks-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
awk -v lines=4000 -f "$here/tests/program/corpus.awk" > corpus.txt
"$nll" tokenize corpus.txt --output data --vocab-size 1000 > /dev/null 2>&1
cat > bench.json <<'JSON'
{
  "data": { "train": "data" },
  "model": { "layers": 8, "heads": 6, "width": 384, "context": 256, "vocabulary": 1000 },
  "batch": { "tokens_per_step": 4096, "sequences": 4 },
  "schedule": { "warmup_steps": 5, "steps": 11 },
  "evaluation": { "every_steps": 0 }, "checkpoint": { "every_steps": 0 }, "log": { "tensorboard": false }
}
JSON
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_hwloc_base_binding_policy=none
# Median tokens per second of a run's steps, the first three left out.
rate_of() {
  rm -rf run
  "$@" --set run.directory=run > log 2>&1 || { tail -n 5 log >&2; exit 1; }
  grep '"event": *"train"' run/metrics.jsonl | sed -E 's/.*"tokens_per_second": *([0-9.e+]+).*/\1/' | tail -n +4 | sort -g |
    awk '{ v[NR] = $1 } END { printf "%.0f\n", v[int((NR + 1) / 2)] }'
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }

echo "tokens/s: 2 ranks x 1 thread, 1 rank x 2 threads, ratio"
for _ in $(seq "$rounds"); do
  two=$(rate_of mpirun -np 2 "$nll" train bench.json --set cpu.threads=1)
  one=$(rate_of "$nll" train bench.json --set cpu.threads=2)
  echo "  $two  $one  $(ratio "$two" "$one")"
done

echo "tokens/s over $rate: a bucket a layer (overlapped), one bucket (after the backward pass), ratio"
for _ in $(seq "$rounds"); do
  on_hosts=("$here/scripts/two_hosts.sh" --ranks 1 --rate "$rate" "$nll" train bench.json --set cpu.threads=1
    --set batch.tokens_per_step=2048)
  overlapped=$(rate_of "${on_hosts[@]}" --set dist.bucket_bytes=1)
  after=$(rate_of "${on_hosts[@]}" --set dist.bucket_bytes=1000000000)
  echo "  $overlapped  $after  $(ratio "$overlapped" "$after")"
done
