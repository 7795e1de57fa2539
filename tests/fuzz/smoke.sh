#!/usr/bin/env bash
# Runs one fuzz target for a while, on its seeds and on the inputs that once failed.
#   smoke.sh TARGET SECONDS FINDINGS SEEDS...        FINDINGS: folder where an input that fails is kept
# NLL_FUZZ_SEED: the random numbers' seed (1), fixed so that a run can be repeated; 0 takes another one each time.
set -euo pipefail
target=$1 seconds=$2 findings=$3
shift 3
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
mkdir -p "$findings"
seeds=()
for folder in "$@"; do [[ -d $folder ]] && seeds+=("$folder"); done
name=$(basename "$target")
log=$corpus.log
trap 'rm -rf "$corpus" "$log"' EXIT
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_limit_mb=1024
if ! "$target" -seed="${NLL_FUZZ_SEED:-1}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 -verbosity=1 \
  -dict="$(dirname "$0")/json.dict" -artifact_prefix="$findings/$name-" "$corpus" "${seeds[@]}" > "$log" 2>&1; then
  tail -n 60 "$log"
  echo "$name: a finding; its input is in $findings. Repeat: $target $findings/$name-..."
  exit 1
fi
awk -v name="$name" '
  /stat::number_of_executed_units/ { runs = $2 } /stat::average_exec_per_sec/ { rate = $2 } /stat::peak_rss_mb/ { rss = $2 }
  END { printf "%s: %d inputs, %d a second, %d MB at most, no finding\n", name, runs, rate, rss }' "$log"
