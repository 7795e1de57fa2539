#!/usr/bin/env bash
# evidence.sh NLL: the small setting of scripts/evidence.sh runs, its invariants hold, it writes every page, and started
# again it does nothing twice.
set -eu
NLL=$1
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
command -v jq > /dev/null || { echo "skipped: jq is missing (scripts/setup.sh test)"; exit 77; }
WORK=$(mktemp -d "${TMPDIR:-/tmp}/nll-evidence-XXXXXX")
trap 'rm -rf "$WORK"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
awk -v lines=900 -f "$HERE/corpus.awk" > "$WORK/corpus.txt"
evidence() { "$ROOT/scripts/evidence.sh" --small --nll "$NLL" --work "$WORK/work" --output "$WORK/pages" "$@"; }

evidence "$WORK/corpus.txt" > "$WORK/log" 2>&1 || { tail -n 20 "$WORK/log"; fail "evidence.sh --small"; }
grep -q 'invariants hold' "$WORK/log" || fail "the invariants were not checked"
for name in teacher-forcing label-smoothing tokenizers scaling token-classes repetition; do
  [ -s "$WORK/pages/$name.md" ] || fail "there is no page $name.md"
  grep -q '^|---' "$WORK/pages/$name.md" || fail "$name.md has no table"
  # Each table's rows have as many columns as its head.
  awk -F'|' -v page="$name.md" '/^\|/ { if (!open) { want = NF; open = 1 } else if (NF != want) { print page ": " $0; bad = 1 } next } { open = 0 } END { exit bad }' \
    "$WORK/pages/$name.md" || fail "a row has other columns than its table"
  grep -q 'null' "$WORK/pages/$name.md" && fail "$name.md says null"
done
for name in scaling speed exposure smoothing-perplexity smoothing-ece reliability context repetition; do
  grep -q '</svg>' "$WORK/pages/$name.svg" || fail "no plot $name.svg"
  grep -q "($name.svg)" "$WORK"/pages/*.md || fail "$name.svg is shown on no page"
  grep -qE 'nan|inf' "$WORK/pages/$name.svg" && fail "$name.svg has what is no number"
done

evidence "$WORK/corpus.txt" > "$WORK/log" 2>&1 || { tail -n 20 "$WORK/log"; fail "evidence.sh --small, again"; }
grep -qE 'training|json' "$WORK/log" && fail "what was there was done again: $(grep -E 'training|json' "$WORK/log" | head -n 1)"
code=0
evidence "$ROOT/README.md" > "$WORK/log" 2>&1 || code=$?
[ $code -eq 2 ] || fail "another text in the same folder gave exit code $code"
echo "the evidence of a small text: $(grep -c . "$WORK/pages/repetition.md") lines of repetition alone"
