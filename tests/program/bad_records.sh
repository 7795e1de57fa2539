#!/usr/bin/env bash
# bad_records.sh NLL [--regenerate]: lines that are no record, as `nll train` meets them: every case of
# bad_records.golden is refused with file, line and field; and a run that is told to skip them trains exactly what a file
# without them trains.
set -eu
NLL=$1
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/nll-records-XXXXXX")
trap 'rm -rf "$WORK"' EXIT
. "$HERE/golden.sh"
cp -r "$HERE/../train/fixtures/trl/model" "$WORK/model"
cd "$WORK"
cat > records.json <<'JSON'
{
  "run": { "directory": "run", "initial_weights": "model" },
  "data": { "train": "train.jsonl", "validation": "held_out.jsonl", "tokenizer": "model" },
  "model": { "layers": 2, "heads": 2, "width": 16, "context": 64, "vocabulary": 300 },
  "objective": { "kind": "kto" },
  "records": { "per_step": 4, "max_length": 48 },
  "batch": { "sequences": 4 },
  "schedule": { "kind": "constant", "warmup_steps": 0, "steps": 3 },
  "cpu": { "threads": 1 }
}
JSON
readonly good='{"prompt": "Which lantern?\n", "completion": "the old one.", "label": true}'
readonly other='{"prompt": "Which kettle?\n", "completion": "none.", "label": false}'

# name, line: NAME.jsonl has it as its third line, with good ones around it.
file() { printf '%s\n' "$good" "$other" "$2" "$good" "$other" "$good" > "$1.jsonl"; }
long=$(head -c 400 /dev/zero | tr '\0' 'x')
file no_field '{"prompt": "Which?\n", "label": true}'
file wrong_type '{"prompt": "Which?\n", "completion": 7, "label": true}'
file wrong_label '{"prompt": "Which?\n", "completion": "this", "label": "yes"}'
file number_label '{"prompt": "Which?\n", "completion": "this", "label": 1}'
file empty '{"prompt": "Which?\n", "completion": "", "label": true}'
file blank ''
file not_utf8 "$(printf '{"prompt": "Which?", "completion": "\377this", "label": true}')"
file cut_utf8 "$(printf '{"prompt": "Which?", "completion": "th\342\202", "label": true}')"
file nul '{"prompt": "Which?", "completion": "a\u0000b", "label": true}'
file surrogate '{"prompt": "Which?", "completion": "\ud800", "label": true}'
file cut_json '{"prompt": "Which?", "completion": "this", "lab'
file comma '{"prompt": "Which?", "completion": "this", "label": true,}'
file twice '{"prompt": "Which?", "completion": "this", "completion": "that", "label": true}'
file list '["Which?", "this", true]'
file role '{"prompt": [{"role": "robot", "content": "Which?"}], "completion": [{"role": "assistant", "content": "x"}], "label": true}'
file turn '{"prompt": [{"role": "user", "content": "Which?"}], "completion": [{"role": "user", "content": "x"}], "label": true}'
file mixed '{"prompt": "Which?", "completion": [{"role": "assistant", "content": "this"}], "label": true}'
file deep "$(printf '{"prompt": "Which?", "completion": "this", "label": true, "x": %s1%s}' "$(printf '[%.0s' $(seq 40))" "$(printf ']%.0s' $(seq 40))")"
file long "{\"prompt\": \"Which?\", \"completion\": \"$long\", \"label\": true}"
file huge "{\"prompt\": \"Which?\", \"completion\": \"$(head -c 100000 /dev/zero | tr '\0' 'x')\", \"label\": true}"
printf '%s\n' "$good" "$other" "$good" "$other" > train.jsonl
printf '%s\n' "$good" "$other" > held_out.jsonl
: > nothing.jsonl
# Prompts that leave no room for a completion: not one record is left.
for _ in 1 2 3; do
  printf '{"prompt": "%s", "completion": "this", "label": true}\n' "$(head -c 80 /dev/zero | tr '\0' '.' | sed 's/\./one two /g')"
done > too_long.jsonl
printf '%s\n' '{"prompt": "Which?\n", "chosen": "this", "rejected": "that"}' '{"prompt": "Which?\n", "chosen": "this"}' > pairs.jsonl
printf '%s\n' '{"prompt": "Which?\n", "positive": "this", "negatives": ["that"]}' \
  '{"prompt": "Which?\n", "positive": "this", "negatives": []}' > negatives.jsonl
printf '%s\n' '{"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": ""}]}' > messages.jsonl
printf '%s\n' '{"prompt": "2 + 2 =", "answer": "4"}' '{"answer": "4"}' > prompts.jsonl
printf '\037\213\010\000\000\000' > packed.jsonl

compare_with_golden "$HERE/bad_records.golden" "${2:-}"

# All faults in one file, between good lines; the same run without them.
for i in 1 2 3 4 5 6; do printf '%s\n' "${good/old/new $i}" "${other/none/none of $i}"; done > clean.jsonl
faults=(no_field wrong_type wrong_label number_label empty blank not_utf8 cut_utf8 nul surrogate cut_json comma twice list role turn mixed deep long)
{
  sed -n 1,5p clean.jsonl
  for fault in "${faults[@]}"; do sed -n 3p "$fault.jsonl"; done
  sed -n '6,$p' clean.jsonl
} > dirty.jsonl
story() { grep '"event": *"train"' "$1/metrics.jsonl" | sed -E 's/"(tokens_per_second|seconds)": *[-0-9.e+]+//g'; }
run() { "$NLL" train records.json --set run.directory="$1" --set data.train="$2" --set records.longest_line=400 "${@:3}" > "$1.log" 2>&1; }
run clean clean.jsonl || { cat clean.log; exit 1; }
run dirty dirty.jsonl --set records.bad=skip || { cat dirty.log; exit 1; }
[ "$(story clean | wc -l)" -eq 3 ] || { echo "FAILED: 3 train events expected"; exit 1; }
diff <(story clean) <(story dirty) || { echo "FAILED: skipped lines changed the training"; exit 1; }
grep -q "${#faults[@]} lines skipped" dirty.log || { cat dirty.log; echo "FAILED: ${#faults[@]} skipped lines are not counted"; exit 1; }
echo "${#faults[@]} kinds of bad lines skipped, counted and without a trace in the training"
