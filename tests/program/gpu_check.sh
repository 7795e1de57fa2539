#!/usr/bin/env bash
# gpu_check.sh NLL NLL_ON_HOST: what will be run on a GPU works. The script rehearsed with the CPU in the GPU's place: all
# its checks pass, and tables come of the records it leaves. The CUDA backend on the host measures a step as a GPU would.
# Tables of given records, of several rounds and of peers, are as expected.
set -euo pipefail
NLL=$(realpath "$1") ON_HOST=$(realpath "$2") here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
fail() { echo "FAILED: $*"; exit 1; }

awk -v lines=20000 -f "$here/corpus.awk" > text.txt
NLL=$NLL "$root/scripts/gpu_check.sh" --rehearse --bench --text=text.txt rehearsal > rehearsal.log \
  --only='^(curve_fp32|repeat|resume|move|evaluation|objectives|ranks_|quickstart|train_124m|bench_|nll_small|choice_step|tables)' ||
  { cat rehearsal.log; fail "the rehearsal"; }
grep -q '^PASS  tables ' rehearsal.log && ! grep '^SKIP  ' rehearsal.log | grep -v -e facts -e ranks_nccl_trial || fail "something was left out"
grep -q '^| small | 1024 | 4 | ' rehearsal/tables.md || { cat rehearsal/tables.md; fail "no table of whole steps"; }

# A record of a GPU has the rates that it is held against, and its stages.
echo '{ "model": { "layers": 1, "heads": 1, "width": 64, "context": 64, "vocabulary": 64 } }' > tiny.json
"$ON_HOST" bench --device cuda --model tiny.json --batch 1 --tokens-per-step 64 --steps 1 --set cuda.product_cache= --json > tiny.record
for key in limit_tokens_per_second practical_tokens_per_second measured_seconds share_of_roof matmul_gflops; do
  grep -q "\"$key\": [0-9]" tiny.record || { cat tiny.record; fail "no $key in a GPU's record"; }
done

mkdir given
echo 'Fine GPU, 580.1, 700.00 W, 1980 MHz, 81559 MiB, Disabled' > given/facts.log
record() {  # FILE PROGRAM RATE [MORE]
  printf '{"program": "%s", "batch": 64, "tokens_per_step": 524288, "tokens_per_second": %s%s, "device": "Fine GPU", "software": "driver 13", "date": "2026-11-23", "run": "now"}\n' \
    "$2" "$3" "${4:-}" > "given/$1.json"
}
held=', "limit_tokens_per_second": 771000.0, "practical_tokens_per_second": 633000.0, "mfu": 0.5'
record nll_124m_step_1 nll 600000 "$held"
record nll_124m_step_2 nll 612000 "$held"
record nll_1558m_step_1 nll 58000.5 ', "practical_tokens_per_second": 62100.0, "mfu": null'
record pytorch_124m_step_1 "pytorch 2.11.0 compile" 470000
record pytorch_124m_step_2 "pytorch 2.11.0 compile" 460000
record llmc_124m_step_1 "llm.c cuDNN" 485000
record nll_124m_b4_1 nll 350000 "$held"
record nll_124m_step_choice nll 600000 "$held"
record nll_124m_fp32_residual_choice nll 570000 "$held"
cat > given/nll_124m_stages_1.json << 'RECORD'
{
  "ops": [
    {
      "op": "layernorm",
      "seconds": 0.0005,
      "gflops": 0.0,
      "gbytes": 2710.0,
      "share_of_roof": 0.809,
      "calls_per_step": 8,
      "seconds_per_step": 0.004
    }
  ],
  "stages": [
    {
      "name": "block products",
      "measured_seconds": 0.42,
      "practical_seconds": 0.4083
    },
    {
      "name": "attention backward",
      "measured_seconds": 0.16,
      "practical_seconds": 0.097
    }
  ]
}
RECORD
"$root/scripts/gpu_check/tables.sh" given > given.md
diff "$here/gpu_tables.golden" given.md || fail "other tables than expected (<)"
"$root/scripts/gpu_check/tables.sh" . 2> error.txt && fail "tables of no records"
grep -q 'no records' error.txt || fail "no word of missing records"
echo "rehearsed: $(tail -n 1 rehearsal.log)"
