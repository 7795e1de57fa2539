#!/usr/bin/env bash
# From nothing to a trained GPT: sets up, builds, gets a text, trains a tokenizer and a model on it, evaluates, samples.
#   scripts/quickstart.sh [TEXT_FILE]      default text: the King James Bible, from Debian's packages
# Run it again at any time: what is there is kept and an interrupted training goes on. Ctrl-C while training saves and
# stops. Exit code: that of the step that ended it (85: stopped on request and saved), 0 when all is done.
set -euo pipefail

[[ $# -le 1 && ${1:-} != -* ]] || { echo "usage: scripts/quickstart.sh [TEXT_FILE]" >&2; exit 2; }
text=${1:-}
if [[ -n $text ]]; then
  [[ -f $text && -r $text ]] || { echo "quickstart: $text: cannot be read (expected a text file)" >&2; exit 2; }
  text=$(realpath "$text")
  name=$(basename "$text" | sed 's/\.[^.]*$//; s/[^A-Za-z0-9_-]/_/g')
else
  name=kjv
fi
cd "$(dirname "$0")/.."
readonly nll=build/cpu/nll data=data/$name run=runs/$name
readonly config=(configs/quickstart.json --set "run.directory=$run" --set "data.train=$data")

number=0
stage() {
  number=$((number + 1))
  printf '\n== %d/7  %d:%02d  %s\n' "$number" $((SECONDS / 60)) $((SECONDS % 60)) "$1"
}

stage "what the build needs"
if [[ -n $text ]]; then scripts/setup.sh build; else scripts/setup.sh build corpus; fi

stage "build"
mkdir -p build
log=build/quickstart.log
if ! { cmake --preset cpu && cmake --build build/cpu --target nll --parallel "$(nproc)"; } > "$log" 2>&1; then
  tail -n 40 "$log"
  echo "quickstart: the build failed; its last lines are above, all of them in $log" >&2
  exit 1
fi
echo "$nll is built"

stage "text"
mkdir -p data
if [[ -z $text ]]; then
  text=data/kjv.txt
  if [[ ! -s $text ]]; then
    bible -f gen1:1-rev22:21 > "$text.part"
    mv "$text.part" "$text"
  fi
fi
echo "$text: $(wc -c < "$text") bytes"
made_from=$(cksum < "$text")
if [[ -e $data && $(cat "$data.source" 2> /dev/null) != "$made_from" ]]; then
  echo "quickstart: $data was made from another text than this one" >&2
  echo "hint: move $data and $run away, or give the text file another name" >&2
  exit 2
fi

stage "tokenizer and tokens"
if [[ -e $data ]]; then
  echo "$data is there already and kept"
else
  echo "$made_from" > "$data.source"
  $nll tokenize "$text" --output "$data" --vocab-size 2048
fi

stage "training: Ctrl-C saves and stops, this command goes on with it"
code=0
$nll train "${config[@]}" --resume auto || code=$?
if [[ $code -eq 85 ]]; then
  printf '\nstopped and saved. To go on: scripts/quickstart.sh%s\n' "${1:+ $1}"
fi
[[ $code -eq 0 ]] || exit "$code"

stage "evaluation on the held-out part of the text"
$nll eval "$run"

stage "a sample"
$nll sample "$run" "In the beginning" --temperature 0.7 --top-p 0.95 --max-tokens 160 --seed 1

checkpoint=$(find "$run/checkpoints" -mindepth 1 -maxdepth 1 -name 'step_*' | LC_ALL=C sort | tail -n 1)
cat << END

all done after $((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))
  checkpoint  $checkpoint   (a Hugging Face GPT-2 folder)
  loss plot   $run/loss.svg
  metrics     $run/metrics.jsonl
try
  $nll sample $run "In the beginning" --temperature 0.7
  $nll eval $run --json
END
