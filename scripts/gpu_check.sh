#!/usr/bin/env bash
# Checks nll on the GPU of this machine, then measures it. Needs bash, coreutils, awk, and nll; under 10 minutes.
#   scripts/gpu_check.sh [--bench] [--rehearse] [--only=REGEX] [FOLDER]
#   --bench      afterwards the four GPT-2 sizes, small batches, and PyTorch where there is one: another 15 to 30 minutes
#   --rehearse   the same checks with the CPU in the GPU's place: proves this script, not the GPU
#   --only       only the checks with such a name, besides those that the others need (facts, prepare)
#   FOLDER       where logs, records and tables go; default: $OUT, or gpu-check/ beside the program
# The program is build/cuda/nll of a checkout, or bin/nll of a bundle (scripts/make_bundle.sh). Every check prints one line
# PASS, FAIL or SKIP with its time, a failed one stops no other, and a table ends it all. Exit code: 0 nothing failed, 1
# something did, 2 wrong usage. What is checked and why: docs/benchmarks/gpu-status.md of a checkout.
set -uo pipefail

bench=false rehearse=false only= out=${OUT:-}
for argument in "$@"; do
  case $argument in
    --bench) bench=true ;;
    --rehearse) rehearse=true ;;
    --only=*) only=${argument#*=} ;;
    -*) sed -n 3,7p "$0" >&2; exit 2 ;;
    *) out=$argument ;;
  esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
first_that_exists() { for file in "$@"; do [[ -x $file ]] && { echo "$file"; return; }; done; echo "$1"; }
if $rehearse; then
  nll=${NLL:-$(first_that_exists "$root"/build/{cpu,cuda}/nll "$root/bin/nll")}
  tests=${TEST_CUDA:-$(first_that_exists "$root"/build/cpu/tests/cuda_on_host/test_cuda)}
  device=cpu half=(fp32)
else
  nll=${NLL:-$(first_that_exists "$root/bin/nll" "$root/build/cuda/nll")}
  tests=${TEST_CUDA:-$(first_that_exists "$root/bin/test_cuda" "$root/build/cuda/tests/cuda/test_cuda")}
  device=cuda half=(bf16 fp16)
fi
[[ -x $nll ]] || { echo "gpu_check: $nll: is not there (cmake --preset cuda && cmake --build --preset cuda)" >&2; exit 2; }
nll=$(realpath "$nll") tests=$(realpath -m "$tests")
[[ -d $root/lib ]] && export LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
out=${out:-$(dirname "$nll")/gpu-check}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
work=$(mktemp -d "${TMPDIR:-/tmp}/nll-gpu-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
readonly whole=600 steps=40

# ---- how a check runs

table=() failed=0
# part NAME SECONDS FUNCTION...: runs the function, which has that long for each command under `timed`. It says what it
# found in the last line it prints; 77 is a check that cannot be made here.
part() {
  local name=$1 start=$SECONDS code=0 said word
  limit=$2
  shift 2
  [[ $name =~ ^(facts|prepare)$ || $name =~ $only ]] || return 0
  if ! $bench && ((SECONDS + limit > whole)); then
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

# ---- a text, a model, runs

# Sentences with grammar enough to be learnable, the same on every machine.
text() {
  awk -v lines=3000 'function pick(words, n) { seed = seed * 16807 % 2147483647; return words[int(seed / 1000) % n + 1] }
    BEGIN {
      seed = 1
      n = split("fox river stone miller garden winter lantern harbour", noun, " ")
      v = split("sees follows keeps forgets carries finds", verb, " ")
      a = split("old quiet bright small distant", adjective, " ")
      for (i = 1; i <= lines; ++i)
        printf "%d. The %s %s %s the %s %s, and the %s is %s.\n", i, pick(adjective, a), pick(noun, n), pick(verb, v),
          pick(adjective, a), pick(noun, n), pick(noun, n), pick(adjective, a)
    }'
}
prepare() {
  text > text.txt
  timed "$nll" tokenize text.txt --output data --vocab-size 300 > tokenize.log
  # Heads of 64 and a context of two tiles of attention; dropout, so that both devices must draw the same masks.
  cat > model.json <<JSON
{ "data": { "train": "data" },
  "model": { "layers": 2, "heads": 2, "width": 128, "context": 128, "vocabulary": 300, "dropout": 0.1 },
  "batch": { "tokens_per_step": 1024, "sequences": 4 },
  "optimizer": { "learning_rate": 2e-3 },
  "schedule": { "warmup_steps": 5, "steps": $steps },
  "evaluation": { "every_steps": 20, "tokens": 2048 },
  "checkpoint": { "every_steps": 0, "keep_last": 9 },
  "cuda": { "product_cache": "$out/products.json" } }
JSON
  tail -n 1 tokenize.log
}
# train FOLDER DEVICE PRECISION [OPTION...]
train() {
  local folder=$1 where=$2 precision=$3
  shift 3
  timed "$nll" train model.json --set "run.directory=$folder" --set "device=$where" --set "precision.compute=$precision" "$@"
}
once() { [[ -e $1/checkpoints ]] || train "$@"; }  # a run that several checks look at
newest() { ls -d "$1"/checkpoints/step_* | tail -n 1; }
losses() {  # of a run: step and loss, a line each
  grep -E '"event": ?"train"' "$1/metrics.jsonl" | sed -E 's/.*"step": ?([0-9]+).*"loss": ?([-+.0-9e]+|null).*/\1 \2/'
}
story() { grep -E '"event": ?"(train|validation)"' "$1/metrics.jsonl" | sed -E 's/, ?"(tokens_per_second|seconds|mfu)": ?[^,}]*//g'; }
same_bits() {  # two runs
  local file
  for file in "$(newest "$1")"/*.safetensors; do
    cmp "$file" "$(newest "$2")/$(basename "$file")"
  done
  diff <(story "$1") <(story "$2") || { echo "the losses of $1 and $2 differ"; return 1; }
}
# same_curve A B FIRST ALL: losses of the first step and of every step differ by no more than these.
same_curve() {
  paste -d ' ' <(losses "$1") <(losses "$2") | awk -v first="$3" -v all="$4" '
    function abs(x) { return x < 0 ? -x : x }
    NF != 4 || $1 != $3 || $2 == "null" || $4 == "null" { bad = "line " NR " is \"" $0 "\""; exit }
    { d = abs($2 - $4); if (NR == 1) start = d; if (d > most) most = d }
    END {
      if (bad != "" || NR < 2) { print "no two curves: " bad; exit 1 }
      printf "%d steps: losses differ by %.1e at first (allowed %.0e), %.1e at most (allowed %.0e)\n", NR, start, first, most, all
      exit !(start <= first && most <= all)
    }'
}

# ---- the checks

facts() {
  uname -srm; nproc; free -g 2> /dev/null || true
  "$nll" --version
  ldd "$nll" || true
  $rehearse && skip "rehearsal: no GPU is looked at"
  command -v nvidia-smi > /dev/null || { skip "no nvidia-smi on this machine"; }
  nvidia-smi
  nvidia-smi -q -d CLOCK,POWER,PERFORMANCE || true
  nvidia-smi --query-gpu=name,driver_version,power.limit,clocks.max.sm,memory.total,mig.mode.current --format=csv,noheader
}
ops() {  # what is checked is named in test_cuda's tests
  [[ -x $tests ]] || skip "$tests is not there"
  # A fixture is read where the build found it. (The name ends before the 0 byte.)
  local fixture without=()
  fixture=$(grep -aoE '/[^[:cntrl:]]*/head_vectors\.json' "$tests" | head -n 1)
  [[ -e $fixture ]] || { echo "left out for want of $fixture: HeadVectors*"; without=(--gtest_filter=-*HeadVectors*); }
  timed "$tests" --gtest_brief=1 "${without[@]}" || { grep -E '^\[  FAILED' "$out/ops.log" | tail -n 20; return 1; }
  grep -q 'no usable GPU: ' "$out/ops.log" && ! $rehearse && { grep -m 1 'no usable GPU: ' "$out/ops.log"; return 1; }
  grep -E '^\[  (PASSED|SKIPPED)' "$out/ops.log" | tr '\n' ' '; echo
}
# Whole models through the backend: parity with the CPU and with recorded curves.
models() {
  local program
  program=$(first_that_exists "$(dirname "$tests")"{,/..,/../cuda_training}/test_cuda_training)
  [[ -x $program ]] || skip "no test_cuda_training in this build"
  timed "$program" --gtest_brief=1 || { grep -E '^\[  FAILED' "$out/models.log" | tail -n 20; return 1; }
  grep -E '^\[  (PASSED|SKIPPED)' "$out/models.log" | tr '\n' ' '; echo
}
# The bound of the first step is the rounding of its sums: 2^-24 for each of some 500 terms of a logit's path. It may grow
# tenfold in the steps that follow: AdamW makes whole updates of gradients near zero.
curve_fp32() {
  once cpu cpu fp32
  once gpu "$device" fp32
  same_curve cpu gpu 3e-5 3e-4
}
# Precision is noise: on average over the last 50 of 200 steps it may move the loss by what another seed does.
curve_half() {  # precision
  local options=(--set schedule.steps=200 --set evaluation.every_steps=0)
  once cpu200 cpu fp32 "${options[@]}"
  once seed200 cpu fp32 "${options[@]}" --set run.seed=7
  once "gpu200_$1" "$device" "$1" "${options[@]}"
  for run in cpu200 seed200 "gpu200_$1"; do losses $run | tail -n 50 | awk '{ sum += $2 } END { printf "%.6f ", sum / NR }'; done |
    awk '{
      noise = $1 - $2; if (noise < 0) noise = -noise
      d = $3 - $1; if (d < 0) d = -d
      printf "mean loss of the last 50 of 200 steps %s, FP32 on the CPU %s, another seed %s\n", $3, $1, $2
      exit !(NF == 3 && $3 > 0 && d <= 2 * noise + 0.02)
    }'
  # FP16 finds its loss scale by skipping.
  [[ $1 == fp16 ]] || ! grep '"event": *"skipped"' "gpu200_$1/metrics.jsonl"
}
repeat() {
  once one "$device" "${half[0]}"
  once two "$device" "${half[0]}"
  same_bits one two
  echo "two ${half[0]} runs of $steps steps: the same weights, moments and losses, bit for bit"
}
graphs() {
  once one "$device" "${half[0]}"
  once plain "$device" "${half[0]}" --set cuda.graphs=false
  same_bits one plain
  echo "recorded and plain steps: the same bits"
}
recompute() {
  once one "$device" "${half[0]}"
  train again "$device" "${half[0]}" --set batch.recompute=block
  same_bits one again
  echo "blocks kept and computed again: the same bits"
}
resume() {
  once one "$device" "${half[0]}"
  train parts "$device" "${half[0]}" --steps 7
  train parts "$device" "${half[0]}" --steps 16 --resume auto
  train parts "$device" "${half[0]}" --resume auto
  same_bits one parts
  "$nll" verify parts
  echo "stopped at steps 7 and 23 and resumed: the same bits as undisturbed"
}
move() {
  once cpu cpu fp32
  train moved cpu fp32 --steps 10
  train moved "$device" fp32 --steps 15 --resume auto
  train moved cpu fp32 --resume auto
  "$nll" verify moved
  same_curve cpu moved 0 3e-4
}
evaluation() {
  once cpu cpu fp32
  local where
  for where in cpu "$device"; do timed "$nll" eval cpu --device $where --precision fp32 --json > "eval_$where.json"; done
  for where in one two; do
    timed "$nll" sample cpu "1. The old" --device "$device" --max-tokens 60 --seed 5 > "sample_$where.txt"
  done
  cmp sample_one.txt sample_two.txt
  # The parallel pass is step-by-step decoding, and causal; it fails by itself where it is not.
  for where in fp32 "${half[@]}"; do
    timed "$nll" eval cpu --teacher-forcing --windows 4 --device "$device" --precision "$where"
  done
  sed -nE 's/^  "loss": ?([0-9.e+-]+).*/\1/p' eval_cpu.json "eval_$device.json" | awk '
    { loss[NR] = $1 } END {
      d = loss[1] - loss[2]; if (d < 0) d = -d
      printf "held-out loss %s on the CPU, %s on the GPU; the same sample twice\n", loss[1], loss[2]
      exit !(loss[1] > 0 && loss[2] > 0 && d <= 3e-5)
    }'
}
# Objectives on records of the model of curve_fp32: pairs that are compared with a reference, unpaired records that are scored
# as a whole step, a scalar head. What is sampled may go other ways on another device, so of that only that it is learned.
objectives() {
  once cpu cpu fp32
  awk 'BEGIN { for (i = 0; i < 64; ++i) printf "{\"prompt\": \"%d. The old fox\", \"chosen\": \" sees the stone\", \"rejected\": \" the sees %s\"}\n", i, i % 3 ? "river" : "fox by the quiet river" }' > pairs.jsonl
  local kind where options
  for kind in dpo kto reward; do
    for where in cpu gpu; do
      options=(--set "run.initial_weights=cpu" --set "data.train=pairs.jsonl" --set "objective.kind=$kind" --set model.dropout=0
        --set records.per_step=16 --set batch.sequences=8 --set schedule.steps=12 --set optimizer.learning_rate=1e-3)
      train "${kind}_$where" "$([[ $where == cpu ]] && echo cpu || echo "$device")" fp32 "${options[@]}"
    done
    # A loss of at most 0.7 and sums of some 20 log-probabilities.
    same_curve "${kind}_cpu" "${kind}_gpu" 3e-5 3e-4
  done
  train grpo "$device" "${half[0]}" --set run.initial_weights=cpu --set data.train=pairs.jsonl --set objective.kind=grpo \
    --set model.dropout=0 --set rollout.prompts=16 --set rollout.max_tokens=12 --set 'reward.rules=regex' \
    --set 'reward.pattern=river' --set schedule.steps=30 --set optimizer.learning_rate=1e-3
  grep '"event": *"train"' grpo/metrics.jsonl | sed -E 's/.*"reward": ?([0-9.e-]+).*/\1/' | awk '
    { if (NR <= 5) first += $1 / 5; last[NR % 5] = $1 } END {
      for (i in last) end += last[i] / 5
      printf "dpo, kto and reward have the CPU'"'"'s losses; grpo: reward %.3f, then %.3f\n", first, end
      exit !(NR == 30 && end > first)
    }'
}
# ---- ranks

# both FOLDER PRECISION OPTION...: a run of two processes on one device, that torchrun's variables hold together. With
# $separate NCCL takes them for processes of two hosts.
separate=false
both() {
  local folder=$1 precision=$2 port=$((20000 + RANDOM % 12000)) rank code=0 processes=()
  shift 2
  for rank in 0 1; do
    (
      export RANK=$rank WORLD_SIZE=2 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
      if $separate; then export NCCL_HOSTID=rank$rank; fi
      train "$folder" "$device" "$precision" --set dist.share_gpu=true --set dist.timeout_seconds=30 \
        --set model.dropout=0 "$@"
    ) &
    processes+=($!)
  done
  for rank in 0 1; do wait "${processes[rank]}" || code=$?; done
  return $code
}
one_rank() { once "one_$1" "$device" "$1" --set model.dropout=0; }
# NCCL may be that of a Python package.
find_nccl() {
  local folder
  folder=$("${PYTHON:-python3}" -c 'import nvidia.nccl as n; print(list(n.__path__)[0] + "/lib")' 2> /dev/null) || return 0
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
}
nccl() {
  local program
  program=$(first_that_exists "$(dirname "$tests")"{,/../cuda_dist}/test_cuda_dist)
  [[ -x $program ]] && ! $rehearse || skip "no test_cuda_dist in this build"
  find_nccl
  timed "$program" --gtest_brief=1 || { grep -E '^\[  FAILED' "$out/nccl.log" | tail -n 20; return 1; }
  ! grep -m 1 'cannot open' "$out/nccl.log" || return 77
  grep -E '^\[  (PASSED|SKIPPED)' "$out/nccl.log" | tr '\n' ' '; echo
}
# NCCL in a whole run, as far as one rank goes: opened, connected and left; nothing travels, so nothing changes.
nccl_one_rank() {
  $rehearse && skip "needs a GPU"
  find_nccl
  one_rank "${half[0]}"
  NCCL_DEBUG=INFO train nccl_one "$device" "${half[0]}" --set model.dropout=0 --set dist.transport=nccl || {
    ! grep -m 1 -E 'nccl: .*cannot open|has no NCCL' "$out/nccl_one_rank.log" || return 77
    return 1
  }
  grep -m 1 'Init COMPLETE' "$out/nccl_one_rank.log"
  same_bits "one_${half[0]}" nccl_one
  echo "a communicator of one rank was made and left; the run has the same bits without it"
}
# Gradients are added in another order, nothing else: in FP32 the bounds of curve_fp32; in 16 bits a weight that is
# rounded the other way is off by 2^-9 of itself, and so may a loss of about 6 be.
ranks_fp32() {
  one_rank fp32
  both two_fp32 fp32 --set dist.transport=host
  same_curve one_fp32 two_fp32 3e-5 3e-4
}
ranks_half() {
  one_rank "${half[0]}"
  local folder
  for folder in two_half again_half; do both $folder "${half[0]}" --set dist.transport=host; done
  same_bits two_half again_half
  same_curve "one_${half[0]}" two_half 1.2e-2 1.2e-2
}
# NCCL does not support two ranks on one GPU, and refuses unless it is made to believe in two hosts. What comes of it is
# worth knowing, whatever it is.
ranks_nccl_trial() {
  $rehearse && skip "needs a GPU"
  find_nccl
  one_rank "${half[0]}"
  export NCCL_NET=Socket NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1 NCCL_NVLS_ENABLE=0 NCCL_MNNVL_ENABLE=0 NCCL_MAX_CTAS=4
  separate=true
  local code=0
  both two_nccl "${half[0]}" --set dist.transport=nccl || code=$?
  [[ $code -eq 0 ]] || skip "not required, and it did not work: exit code $code: $(grep -m 1 '^error: ' "$out/ranks_nccl_trial.log")"
  same_curve "one_${half[0]}" two_nccl 1.2e-2 1.2e-2
}
sanitizer() {  # tool
  command -v compute-sanitizer > /dev/null || skip "no compute-sanitizer on this machine"
  [[ -x $tests ]] && ! $rehearse || skip "needs test_cuda on a GPU"
  # The families that have kernels of their own.
  local filter='*Embedding*:*Norm*:*CrossEntropy*:*Attention*:*AdamW*:*Dropout*:*Sort*:*ChosenRows*:*ScalarHead*:-Cudnn*'
  timed compute-sanitizer --tool "$1" --error-exitcode 9 "$tests" --gtest_brief=1 "--gtest_filter=$filter" || {
    local code=$?
    [[ $code -eq 124 ]] && ! grep -q 'ERROR SUMMARY: [1-9]' "$out/$1.log" && skip "nothing found in $limit s, not all tests ran"
    return $code
  }
  grep 'ERROR SUMMARY' "$out/$1.log"
}
# bench NAME OPTION...: the table, and the record beside it
table_of() {
  local name=$1
  shift
  timed "$nll" bench --device "$device" --set "cuda.product_cache=$out/products.json" "$@" > "$out/$name.txt"
  cat "$out/$name.txt"
  grep -E 'whole step|MFU' "$out/$name.txt" | tr '\n' ' '; echo
}
record_of() {
  local name=$1
  shift
  timed "$nll" bench --device "$device" --set "cuda.product_cache=$out/products.json" --op step --json --run "$run" "$@" > "$out/$name.json"
  sed -nE 's/ *"(tokens_per_second|mfu)": ([0-9.e+-]+|null),?/\1 \2/p' "$out/$name.json" | tr '\n' ' '; echo
}
pytorch() {  # name, options
  local name=$1 script=$root/scripts/peers/gpu_pytorch.py python
  shift
  python=$(command -v "${PYTHON:-python3}") && [[ -e $script ]] || skip "no python3"
  "$python" -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null || skip "no torch with CUDA in $python (PYTHON=... names another)"
  timed "$python" "$script" --run "$run" "$@" > "$out/$name.json"
  sed -nE 's/.*"tokens_per_second": ([0-9.]+).*/tokens_per_second \1/p' "$out/$name.json"
}

echo "nll on a GPU: $nll, results in $out"
run=$(date -u +%Y-%m-%dT%H:%MZ)
part facts 20 facts
part prepare 20 prepare
part ops 240 ops
# On the host its kernels take their time.
part models "$($rehearse && echo 300 || echo 90)" models
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
small=(--model "$work/model.json" --batch 4 --context 128 --steps 3)
if $rehearse; then part bench_small 120 table_of bench_small "${small[@]}"; else part bench_124m 150 table_of bench_124m --model 124m --steps 10; fi
if $bench && ! $rehearse; then
  for size in 355m 774m 1558m; do part "bench_$size" 300 table_of "bench_$size" --model $size --steps 5; done
  for ((round = 1; round <= ${ROUNDS:-2}; ++round)); do
    for size in 124m 355m 774m 1558m; do
      part "nll_${size}_$round" 300 record_of "nll_${size}_$round" --model $size --steps 10
      part "pytorch_${size}_$round" 300 pytorch "pytorch_${size}_$round" --model $size --steps 5
      part "nll_${size}_b4_$round" 120 record_of "nll_${size}_b4_$round" --model $size --batch 4 --tokens-per-step 4096 --steps 50
      part "pytorch_${size}_b4_$round" 120 pytorch "pytorch_${size}_b4_$round" --model $size --batch 4 --tokens-per-step 4096 --steps 20
    done
    part "nll_1558m_again_$round" 300 record_of "nll_1558m_again_$round" --model 1558m --set batch.recompute=block --steps 5
  done
fi

{
  echo
  tail -n 1 "$out/facts.log"
  printf '%s\n' "${table[@]}"
  echo "$(printf '%s\n' "${table[@]}" | cut -c 1-4 | sort | uniq -c | awk '{ printf "%s%d %s", n++ ? ", " : "", $1, $2 }') in $SECONDS s; logs in $out"
} | tee "$out/summary.txt"
exit $failed
