#!/usr/bin/env bash
# Shows on own runs what docs/evaluation.md and the textbooks say of cross-entropy: trains small models on a text,
# measures them, and writes the tables of docs/evidence/. Hours on two CPU cores; minutes with --small, which checks
# that everything runs and that what must be equal is, not the values.
#   scripts/evidence.sh [--small] [--nll PROGRAM] [--work DIR] [--output DIR] [TEXT_FILE]
#   TEXT_FILE   default: the King James Bible of Debian's bible-kjv, a chapter a document
#   --work      runs and measurements, default runs/evidence (--small: runs/evidence-small); what is finished there is
#               not done again, so an interrupted set goes on when it is started again
#   --output    the pages, default docs/evidence (--small: DIR/pages below --work)
# Exit code: that of the step that failed, 1 when something that must hold does not.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
small='' nll=$here/build/cpu/nll work='' output='' text=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --small) small=1 ;;
    --nll) nll=$(realpath "$2"); shift ;;
    --work) work=$2; shift ;;
    --output) output=$2; shift ;;
    -*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) text=$(realpath "$1") ;;
  esac
  shift
done
work=${work:-runs/evidence${small:+-small}}
[[ $work == /* ]] || work=$here/$work
output=${output:-${small:+$work/pages}}
output=${output:-docs/evidence}
for program in jq "$nll"; do
  command -v "$program" > /dev/null || { echo "evidence: $program is missing (scripts/setup.sh test; build/cpu)" >&2; exit 2; }
done

# ---- settings: what is trained and measured
if [[ -n $small ]]; then
  vocabularies=(270 300 400) smoothing=0,0.1 seeds=1,2 widths=16,24,32,40 lengths=10,20,30 steps=30 warmup=3 every=10
  model='"layers": 2, "heads": 2, "width": 32, "context": 32' batch=256 windows=4 cloze=24 held=4 one_in=2
  threads=1
  generation=(--texts 4 --prompt-tokens 4 --new-tokens 16 --temperatures "0,1") resamples=100 budget=1e10 contexts=20
else
  vocabularies=(512 2048 8192) smoothing=0,0.05,0.1,0.2,0.3 seeds=1,2,3 widths=64,128,192,256 lengths=140,280,560,1120
  steps=1120 warmup=50 every=140 model='"layers": 4, "heads": 4, "width": 256, "context": 128' batch=1024 windows=64
  cloze=1000 held=20 one_in=4 generation=(--texts 64 --prompt-tokens 16 --new-tokens 96) resamples=1000 budget=1e14 contexts=4000
  threads=0
fi
middle=${vocabularies[1]}   # the tokenizer of everything but the comparison of tokenizers

fail() { echo "evidence: FAILED: $*" >&2; exit 1; }
say() { printf '== %d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2; }
# measured FILE ARGUMENT...: what `nll ARGUMENT...` prints, unless it is there.
measured() {
  local file=$1
  shift
  [[ -s $file ]] && return
  mkdir -p "$(dirname "$file")"
  say "$(basename "$file")"
  case $1 in eval) set -- "$@" --threads $threads ;; esac
  "$nll" "$@" > "$file.part" 2> "$file.log" || { tail -n 5 "$file.log" >&2; fail "nll $*"; }
  mv "$file.part" "$file"
}

# ---- the text: documents, of which every so many-th is held out; questions from those
mkdir -p "$work"
if [[ -z $text ]]; then
  text=$work/kjv.txt
  [[ -s $text ]] || { bible -f gen1:1-rev22:21 > "$text.part" && mv "$text.part" "$text"; }
fi
stamp="$(cksum < "$text") ${small:-full} ${vocabularies[*]} $smoothing $seeds $widths $lengths $steps $model"
if [[ -e $work/settings && $(< "$work/settings") != "$stamp" ]]; then
  echo "evidence: $work was made from another text or with other settings (expected a new folder: --work DIR)" >&2
  exit 2
fi
echo "$stamp" > "$work/settings"
cd "$work"
if [[ ! -s cloze.jsonl ]]; then
  say "text"
  rm -rf training.lines held.lines
  awk -v held=$held -v training=training.lines -v held_out=held.lines -f "$here/scripts/evidence/documents.awk" "$text"
  for part in training held; do
    jq -Rc '{text: (split("\u0001") | join("\n"))}' $part.lines > $part.jsonl
  done
  tr '\001' '\n' < held.lines | awk -v most=$cloze -f "$here/scripts/evidence/cloze.awk" |
    jq -Rc 'split("\t") | {query: .[0], choices: .[1:5], answer: (.[5] | tonumber)}' > cloze.part
  [[ $(wc -l < cloze.part) -ge 10 ]] || fail "the text gives $(wc -l < cloze.part) cloze questions (expected 10)"
  mv cloze.part cloze.jsonl
fi
# tokenized VOCABULARY: data_V and held_V, with the tokenizer of the training text.
tokenized() {
  [[ -e held_$1 ]] && return
  rm -rf "data_$1" "held_$1.part"
  say "tokenizer of $1 ids"
  "$nll" tokenize training.jsonl --output "data_$1" --vocab-size "$1" --validation-fraction 0 > "data_$1.log" 2>&1 || fail "$(cat "data_$1.log")"
  "$nll" tokenize held.jsonl --output "held_$1.part" --tokenizer "data_$1" --validation-fraction 0 > "held_$1.log" 2>&1 || fail "$(cat "held_$1.log")"
  mv "held_$1.part" "held_$1"
}
for vocabulary in "${vocabularies[@]}"; do tokenized "$vocabulary"; done
# Tokens of the training text, out of its shards of two bytes a token.
tokens_in() { cat "data_$1"/train_*.bin | wc -c | awk '{ print int($1 / 2) }'; }

# config VOCABULARY STEPS
config() {
  cat << END
{
  "run": { "directory": "run_$1" },
  "data": { "train": "data_$1", "validation": "held_$1/train_*.bin" },
  "model": { $model, "vocabulary": $1 },
  "batch": { "tokens_per_step": $batch },
  "optimizer": { "learning_rate": 2e-3, "beta2": 0.99 },
  "schedule": { "kind": "cosine", "warmup_steps": $warmup, "steps": $2, "final_fraction": 0.05 },
  "evaluation": { "every_steps": $every, "tokens": 1000000 },
  "checkpoint": { "every_steps": $every, "keep_last": 1 },
  "cpu": { "threads": $threads }
}
END
}

# ---- training
# swept NAME ARGUMENT...: all runs of a grid; goes on with an interrupted one.
swept() {
  local name=$1
  shift
  [[ -e $name.done ]] && return
  say "training: $name"
  local code=0
  if [[ -n $small ]]; then
    "$nll" sweep config.json "$@" --directory "$name" > "$name.table" 2> "$name.log" || code=$?
  else
    "$nll" sweep config.json "$@" --directory "$name" > "$name.table" || code=$?
  fi
  [[ $code -eq 0 ]] || { tail -n 5 "$name.table" >&2; exit $code; }
  touch "$name.done"
}
config "$middle" $steps > config.json
swept smoothing --grid "objective.label_smoothing=$smoothing" --grid "run.seed=$seeds"
swept scaling --grid "model.width=$widths" --grid "schedule.steps=$lengths"
for vocabulary in "${vocabularies[@]}"; do
  [[ -e tokenizer_$vocabulary.done ]] && continue
  say "training: tokenizer of $vocabulary ids"
  # The same text read as often: more steps where the tokens are shorter.
  scaled=$(awk -v steps=$steps -v own="$(tokens_in "$vocabulary")" -v other="$(tokens_in "$middle")" 'BEGIN { print int(steps * own / other + 0.5) }')
  config "$vocabulary" "$scaled" > "config_$vocabulary.json"
  code=0
  "$nll" train "config_$vocabulary.json" --resume auto 2> "train_$vocabulary.log" || code=$?
  [[ $code -eq 0 ]] || { tail -n 5 "train_$vocabulary.log" >&2; exit $code; }
  touch "tokenizer_$vocabulary.done"
done

# ---- measuring
plain=run_$middle
for run in smoothing/*/; do
  name=$(basename "$run")
  measured "json/smoothing/$name.eval.json" eval "$run" --json
  measured "json/smoothing/$name.choice.json" eval "$run" --choice cloze.jsonl --json
  measured "json/smoothing/$name.calibration.json" eval "$run" --calibration --one-in $one_in --json
done
unsmoothed=$(find smoothing -maxdepth 1 -name '*label_smoothing=0,*seed=1' | head -n 1)
smoothed=$(find smoothing -maxdepth 1 -name '*label_smoothing=0.1,*seed=1' | head -n 1)
[[ -n $unsmoothed && -n $smoothed ]] || fail "the sweep has no runs of smoothing 0 and 0.1 with seed 1"
measured json/against_smoothing.json eval "$unsmoothed" --against "$smoothed" --resamples $resamples --json
measured json/against_itself.json eval "$plain" --against "$plain" --resamples $resamples --json
measured json/forcing.json eval "$plain" --teacher-forcing --windows $windows --json
measured json/generation.json eval "$plain" --generation "${generation[@]}" --json
measured json/classes.json eval "$plain" --by-frequency --by-context $contexts --json
measured json/negation.json eval "$plain" --probe "$here/scripts/evidence/negation.jsonl" --data "held_$middle/train_*.bin" --json
for vocabulary in "${vocabularies[@]}"; do
  measured "json/tokenizer_$vocabulary.json" eval "run_$vocabulary" --json
  [[ $vocabulary == "$middle" ]] ||
    measured "json/against_tokenizer_$vocabulary.json" eval "$plain" --against "run_$vocabulary" --resamples $resamples --json
done
measured json/fit.json fit scaling/*/ --budget $budget --resamples $resamples --plot "$work/scaling.svg" --json
for run in scaling/*/; do measured "json/scaling/$(basename "$run").json" eval "$run" --json; done

# ---- what must hold, whatever the values
. "$here/scripts/evidence/invariants.sh"
# ---- the pages
[[ $output == /* ]] || output=$here/$output
mkdir -p "$output"
. "$here/scripts/evidence/pages.sh"
say "done: $output"
