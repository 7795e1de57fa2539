#!/usr/bin/env bash
# pipeline.sh NLL: what a user does from text to sample works, and each verb prints what scripts rely on.
. "$(dirname "$0")/setup_corpus.sh"
fail() { echo "FAILED: $*"; exit 1; }

"$NLL" plan tiny.json --json > plan.json
grep -q '"parameters"' plan.json || fail "plan --json has no parameters"
[ ! -e run ] || fail "plan made a run folder"

"$NLL" train tiny.json --steps 15 2> train.log || { cat train.log; fail "train --steps 15"; }
grep -q 'stopped at step 15 of 40' train.log || fail "a run cut by --steps does not say so"
code=0; "$NLL" train tiny.json 2> again.log || code=$?
[ $code -eq 2 ] || fail "training into an existing run gave exit code $code"
grep -q 'already holds a run' again.log || fail "no word of the run that is there"
"$NLL" train tiny.json --resume auto 2> train.log || { cat train.log; fail "resume"; }
[ -s run/loss.svg ] || fail "no loss plot"
for file in config.json model.safetensors optimizer.safetensors tokenizer.json tokenizer_config.json state.json run_config.json manifest.json; do
  [ -s "run/checkpoints/step_00000040/$file" ] || fail "the checkpoint has no $file"
done

"$NLL" verify run > verify.txt || fail "verify"
grep -q intact verify.txt || fail "verify does not say intact"
"$NLL" eval run --json > eval.json || fail "eval"
for key in loss perplexity bits_per_byte bits_per_character accuracy entropy ece adaptive_ece classes by_position documents; do
  grep -q "\"$key\"" eval.json || fail "eval --json has no $key"
done
"$NLL" eval run --text corpus.txt > eval.txt && grep -q bits_per_byte eval.txt || fail "eval --text"
grep -q '^    function words' eval.txt || fail "eval shows no loss by class"
[ "$(awk '{ if (length($0) > 80 && NR > 1) print }' eval.txt | wc -l)" = 0 ] || fail "a line of eval is wider than 80 columns"
"$NLL" eval run --data data/validation_00000.bin --data data/train_00000.bin --tokens 300 --stride 16 --by-frequency \
  > eval.txt || fail "eval of two texts"
grep -q ' total$' eval.txt && grep -q 'times in training text' eval.txt || fail "eval of two texts shows no total"
grep -q '"loss_function_words"' run/metrics.jsonl || fail "a validation event has no loss by class"
"$NLL" eval run --teacher-forcing --windows 4 --json > forcing.json 2> forcing.log || { cat forcing.log; fail "eval --teacher-forcing"; }
for key in equality causality ratio exposure_bias; do
  grep -q "\"$key\"" forcing.json || fail "eval --teacher-forcing has no $key"
done
grep -q '"passed": true' forcing.json || fail "eval --teacher-forcing has no verdict"
written() { "$NLL" eval run --generation --texts 6 --prompt-tokens 8 --new-tokens 20 --temperatures 0,1 "$@" 2> /dev/null; }
written --json > one.json && written --json > two.json && cmp -s one.json two.json || fail "eval --generation is not the same twice"
for key in text_itself distinct seq_rep rep loop_rate loss_after_copies induction; do
  grep -q "\"$key\"" one.json || fail "eval --generation has no $key"
done
[ "$(grep -c '"loop_rate"' one.json)" = 17 ] || fail "eval --generation has not 16 settings and the text itself"
written > one.txt || fail "eval --generation"
[ "$(awk '{ if (length($0) > 80 && NR > 1) print }' one.txt | wc -l)" = 0 ] || fail "a line of eval --generation is wider than 80 columns"
"$NLL" eval run --against run/checkpoints/step_00000039 --text corpus.txt > one.txt 2> /dev/null || fail "eval --against"
grep -q 'first - second' one.txt || fail "eval --against shows no difference"
"$NLL" eval run --against run --json 2> /dev/null | grep -q '"equal": 1' || fail "a run differs from itself"
"$NLL" eval run --calibration --one-in 2 > two.txt 2> /dev/null || fail "eval --calibration"
grep -q '^  temperature' two.txt || fail "eval --calibration fits no temperature"
echo '{"affirm": "The fox is", "negate": "The fox is not", "true": "old", "false": "quiet"}' > probe.jsonl
"$NLL" eval run --probe probe.jsonl --text corpus.txt > three.txt 2> /dev/null || fail "eval --probe"
grep -q '^  flip_rate' three.txt && grep -q '^    the ' three.txt || fail "eval --probe has no rates or words"
for table in one two three; do
  [ "$(awk '{ if (length($0) > 80 && NR > 1) print }' $table.txt | wc -l)" = 0 ] || { cat $table.txt; fail "a line of a table is wider than 80 columns"; }
done
echo '{"affirm": "The fox is", "negate": "The fox is not", "true": 1, "false": "quiet"}' >> probe.jsonl
code=0; "$NLL" eval run --probe probe.jsonl 2> probe.log || code=$?
[ $code -eq 4 ] || fail "a bad probe gave exit code $code"
grep -q 'probe.jsonl:2: "true" is a number' probe.log || { cat probe.log; fail "a bad probe is not named"; }
"$NLL" sample run "The old" --max-tokens 24 --seed 3 > one.txt 2> sample.log || fail "sample"
"$NLL" sample run "The old" --max-tokens 24 --seed 3 > two.txt 2> /dev/null
cmp one.txt two.txt || fail "the same seed gave another sample"
grep -q '^The old' one.txt || fail "the sample does not begin with its prompt"
grep -q 'tokens/s' sample.log || fail "no rate after the sample"
printf 'The old' | "$NLL" sample run - --max-tokens 24 --seed 3 2> /dev/null | cmp - one.txt || fail "a prompt from standard input"
"$NLL" sample run "The old" --temperature 0 --max-tokens 40 --stop "and" 2> /dev/null | grep -q and && fail "--stop was printed"

# Evaluation while training and `nll eval` of the same tokens agree, up to the rounding of another batch size.
trained=$(grep '"validation"' run/metrics.jsonl | tail -n 1 | sed -E 's/.*"loss": ?([0-9.]+).*/\1/')
evaluated=$("$NLL" eval run --tokens 512 --json | grep -m 1 '"loss"' | sed -E 's/.*"loss": ?([0-9.]+).*/\1/')
awk -v a="$trained" -v b="$evaluated" 'BEGIN { d = a - b; exit !(a > 0 && d * d < 1e-10 * a * a) }' ||
  fail "validation loss $trained while training, $evaluated by eval"

# A model trained here starts another run.
"$NLL" train tiny.json --set run.directory=second --set run.initial_weights=run/checkpoints/step_00000040 --steps 2 2> second.log || { cat second.log; fail "initial_weights"; }
"$NLL" bench --model tiny.json --batch 2 --context 16 --steps 2 --json > bench.json || fail "bench"
grep -q '"tokens_per_second"' bench.json || fail "bench --json has no tokens_per_second"
# Memory that runs out is found before the first step, and leaves nothing behind. (Sanitizers need the address space.)
if ! nm -D "$NLL" 2> /dev/null | grep -q -E '__(asan|tsan)'; then
  code=0
  (ulimit -v 400000; "$NLL" train tiny.json --set run.directory=third --set model.width=1024 --set model.layers=16 2> memory.log) || code=$?
  [ $code -eq 5 ] || { cat memory.log; fail "too little memory gave exit code $code"; }
  grep -q 'error: .*needed' memory.log || fail "too little memory is not explained"
  [ ! -e third ] || fail "too little memory left a run folder"
fi
"$NLL" config > keys.txt && grep -q learning_rate keys.txt || fail "config"
echo "from text to sample: all verbs work"
