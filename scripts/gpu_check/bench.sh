# The benchmarks of gpu_check.sh --bench. Sourced by it. Each measurement leaves one JSON record among the results,
# PROGRAM_SIZE_CASE_ROUND.json, of which tables.sh makes the tables.

# The program's options for a size and a case, into `asked`, and no `cache` of algorithms where others are to be chosen.
ask_for() {  # SIZE CASE
  local context=1024
  asked=(--model "$1")
  if [[ $1 == small ]]; then
    context=128 asked=(--model "$work/model.json" --context 128)
    [[ $2 == b4* ]] || asked+=(--batch 4 --tokens-per-step 1024)
  fi
  case $2 in
    step | stages) ;;
    b4 | b4_no_graphs) asked+=(--batch 4 --tokens-per-step $((4 * context))) ;;
    cudnn) asked+=(--set cuda.attention=cudnn) ;;
    bf16_logits) asked+=(--set head.logits=bfloat16) ;;
    fp32_residual) asked+=(--set precision.residual=fp32) ;;
    bf16_moments) asked+=(--set optimizer.moments=bf16) ;;
    any_order) asked+=(--set cuda.deterministic=false) cache= ;;
    untuned) asked+=(--set cuda.tune_products=false) cache= ;;
    recompute_*) asked+=(--set "batch.recompute=${2#recompute_}") ;;
    *) echo "no case $2"; return 1 ;;
  esac
  [[ $2 != *_no_graphs ]] || asked+=(--set cuda.graphs=false)
}
# said_by FILE: the line that a check prints of its record
said_by() {
  sed -nE 's/.*"(tokens_per_second|mfu)": ([0-9.e+-]+|null).*/\1 \2/p' "$1" | tr '\n' ' '; echo
}
measure() {  # SIZE CASE ROUND [OPTION...]
  local case=$2 file=$out/nll_$1_$2_$3.json cache=$out/products.json asked=()
  ask_for "$1" "$case"
  [[ $case == stages ]] || asked+=(--op step)
  shift 3
  timed "$nll" bench --device "$device" --set "cuda.product_cache=$cache" "${asked[@]}" --json --run "$run" "$@" > "$file" || {
    rm "$file"
    if [[ $case == cudnn ]] && grep -h -m 1 '^error: .*cudnn' "$out"/choice_*cudnn.log; then return 77; fi
    return 1
  }
  said_by "$file"
}
# A peer is timed as `nll` is; where it is not there the check is left out.
pytorch() {  # SIZE CASE ROUND [OPTION...]
  local file=$out/pytorch_$1_$2_$3.json script=$root/scripts/peers/gpu_pytorch.py python asked=()
  python=$(command -v "${PYTHON:-python3}") && [[ -e $script ]] || skip "no python3"
  "$python" -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null || skip "no torch with CUDA in $python (PYTHON=... names another)"
  ask_for "$1" "$2"
  shift 3
  timed "$python" "$script" --run "$run" "${asked[@]}" "$@" > "$file" || { rm "$file"; return 1; }
  said_by "$file"
}
llmc() {  # SIZE CASE ROUND [OPTION...]
  local file=$out/llmc_$1_$2_$3.json script=$root/scripts/peers/gpu_llmc.py python program asked=()
  program=${LLMC:-$root/bin/train_gpt2cu}
  [[ -x $program ]] || skip "no llm.c (LLMC=... names its train_gpt2cu; scripts/peers/build_gpu_llmc.sh makes it)"
  python=$(command -v "${PYTHON:-python3}") && [[ -e $script ]] || skip "no python3"
  ask_for "$1" "$2"
  shift 3
  timed "$python" "$script" "$program" --run "$run" "${asked[@]}" "$@" > "$file" || { rm "$file"; return 1; }
  said_by "$file"
}

# Whole steps to time: of the largest model one takes nine seconds.
steps_of_size() { case $1 in 355m) echo 6 ;; 774m) echo 4 ;; 1558m) echo 3 ;; *) echo 10 ;; esac; }
# In turn, round by round, so that a slow minute of the machine hits all of them.
benchmarks() {
  local size round case n
  for size in "${sizes[@]:1}"; do part "bench_${size}" 300 measure "$size" stages 1 --steps "$(steps_of_size "$size")"; done
  for ((round = 1; round <= rounds; ++round)); do
    for size in "${sizes[@]}"; do
      n=$(steps_of_size "$size")
      part "nll_${size}_$round" 300 measure "$size" step $round --steps $n
      part "pytorch_${size}_$round" 300 pytorch "$size" step $round --steps $n
      part "llmc_${size}_$round" 300 llmc "$size" step $round --steps $n
      part "nll_${size}_b4_$round" 120 measure "$size" b4 $round --steps 50
      part "pytorch_${size}_b4_$round" 300 pytorch "$size" b4 $round --steps 20
      part "llmc_${size}_b4_$round" 120 llmc "$size" b4 $round --steps 20
    done
  done
  # What a choice costs or gains, beside the step in turn with it.
  size=${sizes[0]}
  for case in step cudnn bf16_logits fp32_residual bf16_moments any_order untuned recompute_gelu b4_no_graphs; do
    part "choice_${case}" 120 measure "$size" "$case" choice --steps 10
  done
  size=${sizes[-1]}
  for case in step cudnn recompute_block; do part "choice_${size}_${case}" 300 measure "$size" "$case" choice --steps 3; done
}
tables() {
  "$root/scripts/gpu_check/tables.sh" "$out" > "$out/tables.md"
  shopt -s nullglob
  { echo '['; awk 'FNR == 1 && NR > 1 { print "," } { print }' "$out"/{nll,pytorch,llmc}_*_*_*.json; echo ']'; } > "$out/records.json"
  echo "$out/tables.md, and all records in $out/records.json"
}
