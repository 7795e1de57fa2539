# The checks of gpu_check.sh that one process makes. Sourced by it; what each proves: docs/benchmarks/gpu-status.md.

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
# Precision is noise: on average over the last quarter of the steps it may move the loss by what another seed does.
curve_half() {  # precision
  local options=(--set schedule.steps=$long --set evaluation.every_steps=0)
  once cpu200 cpu fp32 "${options[@]}"
  once seed200 cpu fp32 "${options[@]}" --set run.seed=7
  once "gpu200_$1" "$device" "$1" "${options[@]}"
  for run in cpu200 seed200 "gpu200_$1"; do losses $run | tail -n $((long / 4)) | awk '{ sum += $2 } END { printf "%.6f ", sum / NR }'; done |
    awk -v long=$long '{
      noise = $1 - $2; if (noise < 0) noise = -noise
      d = $3 - $1; if (d < 0) d = -d
      printf "mean loss of the last quarter of %d steps %s, FP32 on the CPU %s, another seed %s\n", long, $3, $1, $2
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
  local first=$((steps * 7 / 40)) second=$((steps * 16 / 40))
  train parts "$device" "${half[0]}" --steps $first
  train parts "$device" "${half[0]}" --steps $second --resume auto
  train parts "$device" "${half[0]}" --resume auto
  same_bits one parts
  "$nll" verify parts
  echo "stopped at steps $first and $((first + second)) and resumed: the same bits as undisturbed"
}
move() {
  once cpu cpu fp32
  train moved cpu fp32 --steps $((steps / 4))
  train moved "$device" fp32 --steps $((steps * 3 / 8)) --resume auto
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
