#!/usr/bin/env bash
# Checks nll on the GPU of this machine, then measures it. Needs bash, coreutils, awk, and nll; under 10 minutes.
#   scripts/gpu_check.sh [--text=FILE] [--bench] [--rehearse] [--within=S] [--only=REGEX] [FOLDER]
#   --text=FILE  afterwards longer runs on that text: the quickstart and GPT-2 124M, stopped, resumed, beside the CPU's and
#                PyTorch's curves: another 5 minutes
#   --bench      afterwards the four GPT-2 sizes, small batches, and PyTorch and llm.c where they are; tables of it all:
#                another 15 to 30 minutes
#   --rehearse   the same checks without a GPU, on small models: with build/cpu/tests/cuda_on_host/nll_on_host the CUDA
#                backend runs on the host; else, or where NLL names another program, the CPU is in the GPU's place
#   --within=S   begins nothing that could end after so many seconds; default: 600 for the checks, none for what is above
#   --only       only the checks with such a name, besides those that the others need (facts, prepare)
#   FOLDER       where logs, records and tables go; default: $OUT, or gpu-check/ beside the program
# The program is build/cuda/nll of a checkout, or bin/nll of a bundle (scripts/make_bundle.sh). Every check prints one line
# PASS, FAIL or SKIP with its time, a failed one stops no other, and a table ends it all. Exit code: 0 nothing failed, 1
# something did, 2 wrong usage. What is checked and why: docs/benchmarks/gpu-status.md of a checkout.
set -uo pipefail

bench=false rehearse=false within= only= out=${OUT:-} corpus=
for argument in "$@"; do
  case $argument in
    --bench) bench=true ;;
    --rehearse) rehearse=true ;;
    --within=*)
      within=${argument#*=}
      [[ $within =~ ^[1-9][0-9]*$ ]] || { echo "gpu_check: --within: \"$within\" (expected seconds)" >&2; exit 2; }
      ;;
    --only=*) only=${argument#*=} ;;
    --text=*)
      corpus=$(realpath "${argument#*=}")
      [[ -s $corpus ]] || { echo "gpu_check: $corpus: is not there" >&2; exit 2; }
      ;;
    -*) sed -n 3,13p "$0" >&2; exit 2 ;;
    *) out=$argument ;;
  esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
first_that_exists() { for file in "$@"; do [[ -x $file ]] && { echo "$file"; return; }; done; echo "$1"; }
if $rehearse; then
  on_host=$root/build/cpu/tests/cuda_on_host
  nll=${NLL:-$(first_that_exists "$on_host/nll_on_host" "$root"/build/{cpu,cuda}/nll "$root/bin/nll")}
  tests=${TEST_CUDA:-$on_host/test_cuda}
  device=cpu half=(fp32) sizes=(small) rounds=1 steps=40 long=200 micro_batches=2 patience=6
  # A CUDA thread that is a fiber takes its time.
  [[ $nll != *on_host ]] || device=cuda half=(bf16 fp16) steps=12 long=30 micro_batches=1
else
  nll=${NLL:-$(first_that_exists "$root/bin/nll" "$root/build/cuda/nll")}
  tests=${TEST_CUDA:-$(first_that_exists "$root/bin/test_cuda" "$root/build/cuda/tests/cuda/test_cuda")}
  device=cuda half=(bf16 fp16) sizes=(124m 355m 774m 1558m) rounds=${ROUNDS:-2} steps=40 long=200 micro_batches=2 patience=1
fi
[[ -x $nll ]] || { echo "gpu_check: $nll: is not there (cmake --preset cuda && cmake --build --preset cuda)" >&2; exit 2; }
nll=$(realpath "$nll") tests=$(realpath -m "$tests")
[[ -d $root/lib ]] && export LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
out=${out:-$(dirname "$nll")/gpu-check}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
work=$(mktemp -d "${TMPDIR:-/tmp}/nll-gpu-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
run=$(date -u +%Y-%m-%dT%H:%MZ)

table=() failed=0 whole=${within:-$((600 * patience))}
# part NAME SECONDS FUNCTION...: runs the function, which has that long for each command under `timed`. It says what it
# found in the last line it prints; 77 is a check that cannot be made here.
part() {
  local name=$1 start=$SECONDS code=0 said word
  limit=$(($2 * patience))
  shift 2
  [[ $name =~ ^(facts|prepare)$ || $name =~ $only ]] || return 0
  if ((SECONDS + limit > whole)); then
    word=SKIP said="no time left of $whole s"
  else
    (set -e; "$@") > "$out/$name.log" 2>&1
    code=$?  # not by ||, which would switch -e off inside
    case $code in 0) word=PASS ;; 77) word=SKIP ;; *) word=FAIL failed=1 ;; esac
    said=$(tail -n 1 "$out/$name.log" | cut -c 1-150)
    [[ $code -eq 124 || $code -eq 137 ]] && said="took more than $limit s; $said"
  fi
  table+=("$(printf '%-4s  %-22s %4d s  %s' "$word" "$name" $((SECONDS - start)) "$said")")
  echo "${table[-1]}"
}
timed() { timeout --kill-after=5 "$limit" "$@"; }
skip() { echo "$*"; return 77; }

for file in runs checks ranks first_light bench; do . "$root/scripts/gpu_check/$file.sh"; done

echo "nll on a GPU: $nll, results in $out"
part facts 20 facts
part prepare 20 prepare
part ops 240 ops
part models 90 models
part curve_fp32 60 curve_fp32
for precision in "${half[@]}"; do part "curve200_$precision" 60 curve_half "$precision"; done
part repeat 30 repeat
part graphs 30 graphs
part recompute 30 recompute
part resume 30 resume
part move_cpu_gpu_cpu 30 move
part evaluation 40 evaluation
part objectives 60 objectives
part nccl 60 nccl
part nccl_one_rank 40 nccl_one_rank
part ranks_fp32 40 ranks_fp32
part ranks_half 40 ranks_half
part ranks_nccl_trial 40 ranks_nccl_trial
part memcheck 60 sanitizer memcheck
part racecheck 60 sanitizer racecheck
part "bench_${sizes[0]}" 150 measure "${sizes[0]}" stages 1 --steps 10
whole=${within:-$((24 * 3600))}
if [[ -n $corpus ]]; then
  part quickstart 300 quickstart
  part train_124m 300 train_124m
  for precision in fp32 "${half[0]}"; do part "curve_pytorch_$precision" 300 curve_pytorch "$precision"; done
fi
if $bench; then
  benchmarks
  part tables 20 tables
fi

{
  echo
  tail -n 1 "$out/facts.log" 2> /dev/null
  printf '%s\n' "${table[@]}"
  echo "$(printf '%s\n' "${table[@]}" | cut -c 1-4 | sort | uniq -c | awk '{ printf "%s%d %s", n++ ? ", " : "", $1, $2 }') in $SECONDS s; logs in $out"
} | tee "$out/summary.txt"
exit $failed
