#!/usr/bin/env bash
# What each objective learns and costs on this machine's CPU: from one base model every config of configs/ is trained, its
# held-out records are measured before and after, and its time and memory are put beside those of supervised fine-tuning
# on the same tokens. Prints the Markdown tables of docs/benchmarks/objectives.md.
#   scripts/bench_objectives.sh [FOLDER] [OBJECTIVE...]     default: runs/objectives, all of them (about an hour on 2 cores)
# Run it again at any time: finished runs are kept and an interrupted one goes on. Ctrl-C saves and stops.
set -euo pipefail
[[ ${1:-} != -* ]] || { echo "usage: scripts/bench_objectives.sh [FOLDER] [OBJECTIVE...]" >&2; exit 2; }
cd "$(dirname "$0")/.."
readonly nll=$PWD/build/cpu/nll
folder=${1:-runs/objectives}
[[ $# -eq 0 ]] || shift
objectives=("$@")
[[ $# -gt 0 ]] || objectives=(sft dpo kto orpo contrastive reward ppo grpo)
[[ -x $nll ]] || { echo "bench_objectives: no $nll; cmake --preset cpu && cmake --build build/cpu" >&2; exit 2; }
for objective in "${objectives[@]}"; do
  [[ -f configs/$objective.json ]] || { echo "bench_objectives: no configs/$objective.json" >&2; exit 2; }
done
mkdir -p "$folder"
readonly records=$folder/records

say() { printf '%4d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1" >&2; }

# NAME CONFIG KEY=VALUE...: trains into FOLDER/NAME unless it is done; its peak memory goes to NAME.bytes, its output to
# NAME.log. The kernel's high-water mark only rises, so the last look at it is the peak.
train() {
  local name=$1 config=$2 code=0 settings=() peak=0 now pid
  shift 2
  ! grep -qs '"event": *"end"' "$folder/$name/metrics.jsonl" || return 0
  say "train $name"
  for setting in "run.directory=$folder/$name" "records.cache=$folder/cache" "$@"; do settings+=(--set "$setting"); done
  "$nll" train "$config" "${settings[@]}" --resume auto > "$folder/$name.log" 2>&1 &
  pid=$!
  trap : INT  # a Ctrl-C reaches the program too
  trap 'kill -TERM "$pid" 2> /dev/null || true' TERM
  while now=$(awk '/^VmHWM:/ { print $2 * 1024 }' "/proc/$pid/status" 2> /dev/null) && [[ -n $now ]]; do
    peak=$now
    sleep 0.2
  done
  wait "$pid" || code=$?
  trap - INT TERM
  [[ $peak -le $(cat "$folder/$name.bytes" 2> /dev/null || echo 0) ]] || echo "$peak" > "$folder/$name.bytes"
  if [[ $code -ne 0 ]]; then
    tail -n 5 "$folder/$name.log" >&2
    echo "bench_objectives: $name ended with $code; all it printed is in $folder/$name.log" >&2
    exit "$code"
  fi
}

# NAME METRIC: its value at the last validation of FOLDER/NAME.
metric() {
  grep '"event": *"validation"' "$folder/$1/metrics.jsonl" | tail -n 1 | grep -oE "\"$2\": *[-+0-9.e]+" |
    sed 's/.*: *//' | awk '{ v = $1 } END { if (NR) printf "%.3f", v; else printf "-" }'
}
# KIND NAME...: seconds of their steps, the first four of each left out: the median, or the mean where sampling is a part
# of some steps only.
step_seconds() {
  local kind=$1
  shift
  for name in "$@"; do
    grep '"event": *"train"' "$folder/$name/metrics.jsonl" | sed -E 's/.*"seconds": *([-+0-9.e]+).*/\1/' | tail -n +5
  done | sort -g | awk -v kind="$kind" '{ v[NR] = $1; sum += $1 }
    END { printf "%.3f", kind == "mean" ? sum / NR : v[int((NR + 1) / 2)] }'
}
steps() { grep '"event": *"train"' "$folder/$1/metrics.jsonl" | tail -n 1 | sed -E 's/.*"step": *([0-9]+).*/\1/'; }
megabytes() { awk '{ printf "%.0f", $1 / 1e6 }' "$folder/$1.bytes"; }
planned() {  # NAME: what nll plan says of its config
  "$nll" plan "$folder/$1/config.json" | awk '$1 == "together" { printf "%.0f", $2 / 1e6; exit }'
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b + 0 > 0) printf "%.2f", a / b; else printf "-" }'; }
# NAME MODEL CONFIG FILE KEY=VALUE...: a step that changes nothing, for what is measured of MODEL at its end on the
# held-out records of FILE. They are its training data too: a reference must look at all of these first.
probe() {
  local name=$1 model=$2 config=$3 held_out=$records/$4_held_out.jsonl
  shift 4
  train "$name" "$config" "data.train=$held_out" "data.validation=$held_out" "run.initial_weights=$model" \
    optimizer.learning_rate=0 schedule.kind=constant schedule.warmup_steps=0 schedule.steps=1 \
    evaluation.records=100000 "$@"
}

# ---- the base model, the records, and a model that knows how the answer to a sum looks

if [[ ! -d $folder/text ]]; then
  say "text and tokens"
  bible -f gen1:1-rev22:21 > "$folder/kjv.txt"
  "$nll" tokenize "$folder/kjv.txt" --output "$folder/text" --vocab-size 2048 > "$folder/tokenize.log" 2>&1
fi
[[ -d $records ]] || scripts/examples/make_records.sh "$records" "$folder/kjv.txt" >&2
train base configs/quickstart.json "data.train=$folder/text"
sums=("data.train=$records/sums_sft.jsonl" "data.validation=$records/sums_sft_held_out.jsonl")
train answers configs/sft.json "${sums[@]}" "run.initial_weights=$folder/base" schedule.steps=100

# OBJECTIVE -> file of its records, the model it starts from, and what is measured of its held-out records.
describe() {
  file=preference start=$folder/base
  case $1 in
    sft) file=sft measure=loss what="loss of completions, nats per token" ;;
    dpo) measure=rewards/accuracies what="pairs whose reward over the base is right" ;;
    kto) file=unpaired measure=rewards/margins what="reward of desirable less undesirable" ;;
    orpo) measure=rewards/accuracies what="pairs in the right order, per token" ;;
    contrastive) file=contrastive measure=accuracy what="right one of four" ;;
    reward) measure=accuracy what="pairs scored in the right order" ;;
    ppo | grpo) file=sums start=$folder/answers measure=reward what="right sums" ;;
    *) echo "bench_objectives: nothing is known of $1" >&2; exit 2 ;;
  esac
}
# FILE: its records with every completion of its own, as supervised fine-tuning reads them.
supervised() {
  case $1 in
    preference) sed -E 's/^(.*), "chosen": (.*), "rejected": (.*)\}$/\1, "completion": \2}\n\1, "completion": \3}/' ;;
    contrastive) sed -E 's/^(.*), "positive": (".*"), "negatives": \[(".*"), (".*"), (".*")\]\}$/\1, "completion": \2}\n\1, "completion": \3}\n\1, "completion": \4}\n\1, "completion": \5}/' ;;
    sums) sed -E 's/"answer": "/"completion": " /' ;;
    *) cat ;;
  esac < "$records/$1.jsonl" > "$folder/$1_supervised.jsonl"
}

for objective in "${objectives[@]}"; do
  describe "$objective"
  data=("data.train=$records/$file.jsonl" "data.validation=$records/${file}_held_out.jsonl")
  config=configs/$objective.json
  probe "$objective-before" "$start" "$config" "$file"
  train "$objective" "$config" "run.initial_weights=$start" "${data[@]}"
  probe "$objective-after" "$folder/$objective" "$config" "$file" "objective.reference=$start"

  # The same sequences a step, supervised.
  supervised "$file"
  per_step=$(grep -oE '"per_step": *[0-9]+' "$folder/$objective/config.json" | grep -oE '[0-9]+')
  case $objective in
    dpo | orpo | reward) per_step=$((per_step * 2)) ;;
    contrastive) per_step=$((per_step * 4)) ;;
    grpo) per_step=512 ;;  # 64 prompts, 8 completions of each
    ppo) per_step=128 ;;   # 256 completions in two mini-batches, each twice
  esac
  # By turns: other programs slow both down alike.
  short=("run.initial_weights=$start" schedule.warmup_steps=0 schedule.steps=12 evaluation.every_steps=0)
  for round in 1 2 3; do
    train "$objective-own$round" "$config" "${data[@]}" "${short[@]}"
    train "$objective-sft$round" configs/sft.json "data.train=$folder/${file}_supervised.jsonl" data.validation= \
      "records.per_step=$per_step" "${short[@]}"
  done
done
# One measure for all that learn from preferences: is the chosen completion the more likely one?
probe base-order "$folder/base" configs/orpo.json preference objective.kind=cpo
for objective in sft dpo kto orpo contrastive; do
  [[ ! -d $folder/$objective ]] || \
    probe "$objective-order" "$folder/$objective" configs/orpo.json preference objective.kind=cpo
done

# ---- tables

echo "| objective | held-out measure | before | after | chosen likelier than rejected | steps |"
echo "|---|---|---|---|---|---|"
echo "| base model | | | | $(metric base-order rewards/accuracies) | $(steps base) |"
for objective in "${objectives[@]}"; do
  describe "$objective"
  order=""
  [[ ! -d $folder/$objective-order ]] || order=$(metric "$objective-order" rewards/accuracies)
  echo "| \`$objective\` | $what | $(metric "$objective-before" "$measure") | $(metric "$objective-after" "$measure") |" \
    "$order | $(steps "$objective") |"
done
echo
echo "| objective | seconds a step | SFT on the same tokens | ratio | peak memory, MB | SFT | ratio | nll plan, MB |"
echo "|---|---|---|---|---|---|---|---|"
for objective in "${objectives[@]}"; do
  case $objective in ppo | grpo) kind=mean ;; *) kind=median ;; esac
  own=$(step_seconds $kind "$objective"-own{1,2,3}) plain=$(step_seconds $kind "$objective"-sft{1,2,3})
  own_memory=$(megabytes "$objective-own1") plain_memory=$(megabytes "$objective-sft1")
  echo "| \`$objective\` | $own | $plain | $(ratio "$own" "$plain") | $own_memory | $plain_memory |" \
    "$(ratio "$own_memory" "$plain_memory") | $(planned "$objective-own1") |"
done
