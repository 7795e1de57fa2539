# Long runs on a real text, for gpu_check.sh --text=FILE. Sourced by it.

tokens_of() {  # FOLDER VOCABULARY: tokens of the text, once
  [[ -e $1/tokenizer.json ]] || timed "$nll" tokenize "$corpus" --output "$1" --vocab-size "$2"
}
step_of() { losses "$1" 2> /dev/null | tail -n 1 | cut -d ' ' -f 1; }
# stopped_and_resumed FOLDER STEP COMMAND...: Ctrl-C after that step saves and leaves with 85, --resume auto ends the run.
stopped_and_resumed() {
  local folder=$1 stop=$2 code=0 process
  shift 2
  "$@" --resume auto &
  process=$!
  while kill -0 $process 2> /dev/null && (($(step_of "$folder" || echo 0) + 0 < stop)); do sleep 0.05; done
  kill -INT $process 2> /dev/null || true  # where it has ended its exit code tells
  wait $process || code=$?
  [[ $code -eq 85 ]] || { echo "stopped by SIGINT: exit code $code (expected 85)"; return 1; }
  echo "stopped at step $(step_of "$folder")"
  timed "$@" --resume auto
}
bits_per_byte() { "$nll" eval "$1" --device "$device" --json | sed -nE 's/^  "bits_per_byte": ?([0-9.e+-]+).*/\1/p'; }

# The README's quickstart: the same config on the CPU in FP32 and on the device in 16 bits.
quickstart() {
  local options=(--set data.train=text2048)
  $rehearse && options+=(--set schedule.steps=$((10 * steps)) --set schedule.warmup_steps=5 --set model.layers=1 --set model.width=64 --set model.heads=1
    --set batch.tokens_per_step=256)
  tokens_of text2048 2048
  timed "$nll" train "$root/configs/quickstart.json" "${options[@]}" --set run.directory=quick_cpu --set device=cpu
  stopped_and_resumed quick_gpu 10 "$nll" train "$root/configs/quickstart.json" "${options[@]}" --set run.directory=quick_gpu \
    --set "device=$device" --set "precision.compute=${half[0]}"
  "$nll" sample quick_gpu "In the beginning" --device "$device" --temperature 0.7 --max-tokens 100 --seed 1 | tee "$out/sample_quickstart.txt"
  paste -d ' ' <(losses quick_cpu) <(losses quick_gpu) > "$out/curve_quickstart.txt"
  awk -v cpu="$(bits_per_byte quick_cpu)" -v gpu="$(bits_per_byte quick_gpu)" '
    function abs(x) { return x < 0 ? -x : x }
    { if (NR > 1) d += abs($2 - $4) } END {
      printf "held out: %s bits per byte, by the CPU in FP32 %s; training losses differ by %.4f on average\n", gpu, cpu, d / (NR - 1)
      exit !(gpu > 0 && abs(gpu - cpu) <= 0.02)
    }' "$out/curve_quickstart.txt"
}
# GPT-2 124M on the same text, for the figures a user sees: the progress line, the plots, a sample.
train_124m() {
  local options=(--set data.train=text8192 --set model.vocabulary=8192)
  if $rehearse; then
    options+=(--set model.layers=1 --set model.heads=1 --set model.width=64 --set model.context=64 --set batch.tokens_per_step=256
      --set schedule.warmup_steps=2 --set schedule.steps=$((10 * steps)) --set evaluation.tokens=4096)
  else
    options+=(--set batch.tokens_per_step=65536 --set schedule.warmup_steps=50 --set schedule.steps=300 --set evaluation.every_steps=100)
  fi
  tokens_of text8192 8192
  stopped_and_resumed long 5 "$nll" train "$root/configs/gpt2-124m.json" "${options[@]}" --set run.directory=long \
    --set "device=$device" --set "cuda.product_cache=$out/products.json"
  "$nll" sample long "In the beginning" --device "$device" --temperature 0.8 --max-tokens 120 --seed 1 | tee "$out/sample_124m.txt"
  "$nll" verify long
  "$nll" report long --output "$out/report_124m.html"
  printf 'held out: %s bits per byte after %s steps\n' "$(bits_per_byte long)" "$(step_of long)"
}
# The same weights, tokens, order and optimizer in PyTorch.
curve_pytorch() {  # PRECISION
  local python script=$root/scripts/peers/check_curve.py
  python=$(command -v "${PYTHON:-python3}") && [[ -e $script ]] || skip "no python3"
  "$python" -c 'import torch, transformers' 2> /dev/null || skip "no torch and transformers in $python (PYTHON=... names another)"
  tokens_of text2048 2048
  timed "$python" "$script" "$nll" text2048 --device "$device" --precision "$1" --steps "$($rehearse && echo 10 || echo 200)" \
    --curve "$out/curve_pytorch_$1.txt"
}
