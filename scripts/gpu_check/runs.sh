# Runs that the checks of gpu_check.sh look at, and what is said of two of them. Sourced by it.

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
  "batch": { "tokens_per_step": $((512 * micro_batches)), "sequences": $((2 * micro_batches)) },
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
