#!/usr/bin/env bash
# report.sh NLL: `nll report` makes a page out of real runs, resumed ones too, and overwrites nothing but such a page.
. "$(dirname "$0")/setup_corpus.sh"
fail() { echo "FAILED: $*"; exit 1; }
"$NLL" train tiny.json --steps 20 2> train.log || { cat train.log; fail "train"; }
"$NLL" train tiny.json --resume auto 2> train.log || { cat train.log; fail "resume"; }
"$NLL" train tiny.json --set run.directory=other --set optimizer.learning_rate=1e-3 --set log.tensorboard=false 2> train.log || fail "second run"

[ "$(find run/tensorboard -name 'events.out.tfevents.*' | wc -l)" -eq 2 ] || fail "two starts made not two TensorBoard files"
[ ! -e other/tensorboard ] || fail "log.tensorboard=false made a TensorBoard file"

[ "$("$NLL" report run)" = run/report.html ] || fail "the page's name is not printed"
for part in 'resumed at step 20' 'bits per byte' 'Samples over time' 'Calibration' 'Learning rate' 'schedule.steps'; do
  grep -q "$part" run/report.html || fail "the page of one run has no \"$part\""
done
cp run/report.html first.html
"$NLL" report run > /dev/null && cmp run/report.html first.html || fail "the same run gave another page"

"$NLL" report run other --output both.html > /dev/null || fail "two runs"
grep -q '4 of .* keys differ' both.html || grep -q 'keys differ between the runs' both.html || fail "differences are not told"
grep -q 'class="differs"><th>optimizer.learning_rate' both.html || fail "the learning rates' difference is not shown"
! grep -qE '(src|href)="?https?:' both.html || fail "the page loads something"
if command -v xmllint > /dev/null; then
  xmllint --noout run/report.html both.html || fail "not well-formed"
else
  echo "skipped: xmllint is not here (Debian: libxml2-utils), the pages were not parsed as XML"
fi

# A torn last line is told and left out.
cp -r run torn
printf '{"event": "train", "step": 4' >> torn/metrics.jsonl
"$NLL" report torn 2> torn.log > /dev/null || fail "a torn last line ends the report"
grep -q "torn/metrics.jsonl:$(wc -l < torn/metrics.jsonl | awk '{ print $1 + 1 }'): left out" torn.log || { cat torn.log; fail "the torn line is not named"; }

refused() {  # exit code, words of the message, arguments
  local expected=$1 words=$2 code=0
  shift 2
  "$NLL" report "$@" > /dev/null 2> refused.log || code=$?
  [ $code -eq "$expected" ] && grep -q "$words" refused.log && [ "$(grep -c '^error: ' refused.log)" -eq 1 ] ||
    { cat refused.log; fail "report $* gave exit code $code (expected $expected and \"$words\")"; }
}
mkdir empty
refused 2 'RUN is required'
refused 3 'nowhere: no such folder' nowhere
refused 3 'no run (it has no metrics.jsonl)' empty
refused 2 'is no report of nll' run --output tiny.json
refused 2 'is a folder' run --output empty
refused 6 'cannot be created' run --output nowhere/page.html
grep -q '"layers": 2' tiny.json || fail "a file that is no report was overwritten"
[ -z "$(find . -name '*.tmp')" ] || fail "a temporary file is left"
echo "report: one run, two runs, a torn file and six refusals"
