#!/usr/bin/env bash
# Measures nll and its peers in turn on this machine and writes docs/benchmarks/gpt2-124m-cpu-b<B>-t<T>.json.
#   compare.sh LLMC_FOLDER [VENV]      VENV: a virtual environment with torch, default .venv-peers
# Each program is timed ROUNDS times, round by round, so that a slow minute of the machine hits all of them; of its rounds
# the one with the median rate is kept. All records of one call carry the same "run". Peers are fetched, built and kept
# outside this repository:
#   git clone https://github.com/karpathy/llm.c LLMC_FOLDER
#   python3 -m venv .venv-peers && .venv-peers/bin/pip install torch numpy
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '3p' "$0" >&2; exit 2; }
llmc=$(realpath "$1") venv=$(realpath "${2:-.venv-peers}")
cd "$(dirname "$0")/../.."
readonly python=$venv/bin/python nll=build/cpu/nll rounds=${ROUNDS:-3} here=scripts/peers
for needed in "$nll" "$python" "$llmc/train_gpt2.c"; do
  [[ -e $needed ]] || { echo "compare: $needed: does not exist" >&2; exit 2; }
done
run=$(date -u +%Y-%m-%dT%H:%MZ)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

measure() {  # name, then the command; appends its record
  local name=$1
  shift
  echo "$(date -u +%H:%M:%S)  $name" >&2
  "$@" 2> "$scratch/errors" | tail -n 1 >> "$scratch/$name.jsonl" ||
    { echo "compare: $name failed: $(tail -n 1 "$scratch/errors")" >&2; }
}

for shape in '4 64' '1 1024'; do
  read -r batch context <<< "$shape"
  rm -f "$scratch"/*.jsonl
  steps=10 llmc_steps=4
  [[ $context -lt 1024 ]] || { steps=4 llmc_steps=2; }
  for ((round = 1; round <= rounds; ++round)); do
    echo "round $round of $rounds, batch $batch, context $context" >&2
    measure nll "$python" $here/bench_nll.py $nll --batch "$batch" --context "$context" --run "$run"
    measure pytorch_eager "$python" $here/bench_pytorch.py --batch "$batch" --context "$context" --steps $steps --run "$run"
    measure pytorch_compile "$python" $here/bench_pytorch.py --compile --batch "$batch" --context "$context" --steps $steps --run "$run"
    measure llmc "$python" $here/bench_llmc.py "$llmc" --batch "$batch" --context "$context" --steps $llmc_steps --run "$run"
  done
  "$python" $here/median_records.py "$scratch"/*.jsonl > "docs/benchmarks/gpt2-124m-cpu-b$batch-t$context.json"
  echo "docs/benchmarks/gpt2-124m-cpu-b$batch-t$context.json" >&2
done
