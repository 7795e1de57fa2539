#!/usr/bin/env bash
# interruptions.sh NLL KILLS STOPS: a run that is killed (SIGKILL) KILLS times while it saves after every step, and one that
# is asked to stop (SIGINT, SIGTERM, SIGUSR1 in turn) STOPS times at random moments, end with the weights, moments and
# metrics of a run that nobody disturbed, bit for bit. A checkpoint that was once there is never lost.
. "$(dirname "$0")/setup_corpus.sh"
KILLS=$2
STOPS=$3
# Enough steps that every interruption finds the run alive; each is one checkpoint.
STEPS=$((10 * (KILLS > STOPS ? KILLS : STOPS) + 40))
set_steps="--set schedule.steps=$STEPS --set evaluation.every_steps=$((STEPS / 4)) --set sample.every_steps=0"

newest() { ls "$1/checkpoints" 2> /dev/null | grep -E '^step_[0-9]+$' | sort | tail -n 1; }

# Without the times, which differ, and the lines that tell of a resume.
story() { grep -E '"event": ?"(train|validation)"' "$1/metrics.jsonl" | sed -E 's/, ?"(tokens_per_second|seconds)": ?[^,}]*//g'; }

same_end() {
  for file in model.safetensors optimizer.safetensors; do
    cmp "whole/checkpoints/$(newest whole)/$file" "$1/checkpoints/$(newest "$1")/$file" || { echo "FAILED: $file of $1 differs"; exit 1; }
  done
  diff <(story whole) <(story "$1") > /dev/null || { echo "FAILED: metrics of $1 differ"; exit 1; }
}

"$NLL" train tiny.json $set_steps --set run.directory=whole 2> whole.log

disturbed=0
while [ "$disturbed" -lt "$KILLS" ]; do
  before=$(newest killed)
  "$NLL" train tiny.json $set_steps --set run.directory=killed --resume auto 2> killed.log &
  pid=$!
  # Start-up takes some 50 ms, a step with its save a few: somewhere among the saves.
  sleep "0.$(printf '%03d' $((80 + RANDOM % 200)))"
  if kill -KILL $pid 2> /dev/null; then disturbed=$((disturbed + 1)); fi
  wait $pid 2> /dev/null && break
  after=$(newest killed)
  if [[ -n "$before" && ! "$after" > "$before" && "$after" != "$before" ]]; then echo "FAILED: $before was lost"; exit 1; fi
done
"$NLL" train tiny.json $set_steps --set run.directory=killed --resume auto 2> killed.log || { cat killed.log; echo "FAILED: no resume after $disturbed kills"; exit 1; }
same_end killed
ls killed/checkpoints | grep -E 'tmp|trash' && { echo "FAILED: leftovers"; exit 1; }
echo "$disturbed kills: nothing lost, the end is the same bit for bit"

signals=(INT TERM USR1)
asked=0
while [ "$asked" -lt "$STOPS" ]; do
  "$NLL" train tiny.json $set_steps --set run.directory=stopped --resume auto 2> stopped.log &
  pid=$!
  sleep "0.$(printf '%03d' $((80 + RANDOM % 200)))"
  kill -${signals[$((asked % 3))]} $pid 2> /dev/null && asked=$((asked + 1))
  code=0
  wait $pid || code=$?
  [ $code -eq 0 ] && break
  [ $code -eq 85 ] || { cat stopped.log; echo "FAILED: exit code $code, expected 85"; exit 1; }
  grep -q -- '--resume auto' stopped.log || { cat stopped.log; echo "FAILED: no word of how to go on"; exit 1; }
done
"$NLL" train tiny.json $set_steps --set run.directory=stopped --resume auto 2> stopped.log || { cat stopped.log; echo "FAILED: no resume"; exit 1; }
same_end stopped
echo "$asked stops: exit code 85 each time, the end is the same bit for bit"
