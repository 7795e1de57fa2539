#!/usr/bin/env bash
# The tables of docs/scaling.md: what `nll plan` expects of a config on 8 to 1024 H100, 8 a host.
#   scripts/scaling_table.sh NLL CONFIG [--set a.b=c]...
# Columns: micro-batches x sequences of a rank; memory of a rank and its share of the GPU; scaling efficiency with one
# 400 Gb/s adapter a host, with one a GPU, and with one a GPU and messages without latency; with one a GPU also the
# step, the part of it that is waiting, and the rate of all GPUs.
set -euo pipefail
nll=$1 config=$2
shift 2

# value KEY: of a number in the JSON on standard input.
value() { awk -F '[:,]' -v key="\"$1\"" '{ gsub(/ /, "", $1) } $1 == key { print $2 + 0; exit }'; }
scaling() { awk '/"scaling"/ { on = 1 } on' | value "$1"; }
plan() { "$nll" plan "$config" --device h100 --ranks "$ranks" --json "$@"; }

echo "| GPUs | batch of a rank | memory of a rank | 50 GB/s a host | 400 GB/s a host | and no latency | step | waiting | tokens a second |"
echo "|---|---|---|---|---|---|---|---|---|"
for ranks in 8 16 32 64 128 256 512 1024; do
  if ! one=$(plan "$@" --interconnect 50 2>&1); then
    echo "| $ranks | cannot be cut: fewer sequences than GPUs | | | | | | | |"
    continue
  fi
  rails=$(plan "$@" --interconnect 400)
  free=$(plan "$@" --interconnect 400 --latency 0)
  awk -v ranks="$ranks" -v micro="$(value micro_batches <<< "$one")" -v sequences="$(value sequences <<< "$one")" \
    -v bytes="$(value bytes <<< "$one")" -v device="$(value memory_bytes <<< "$one")" \
    -v a="$(scaling efficiency <<< "$one")" -v b="$(scaling efficiency <<< "$rails")" \
    -v c="$(scaling efficiency <<< "$free")" -v step="$(scaling seconds_per_step <<< "$rails")" \
    -v compute="$(scaling compute_seconds <<< "$rails")" -v rate="$(scaling tokens_per_second <<< "$rails")" 'BEGIN {
      printf "| %d | %d x %d | %.1f GB, %.0f %% | %.0f %% | %.0f %% | %.0f %% | %.0f ms | %.0f ms | %.2f M |\n", ranks, micro,
        sequences, bytes / 1e9, 100 * bytes / device, 100 * a, 100 * b, 100 * c, 1e3 * step, 1e3 * (step - compute), rate / 1e6
    }'
done
