# shellcheck shell=bash
# Sourced by the program tests of several ranks: what a run's folder says, and how a test fails.
newest() { ls "$1/checkpoints" 2> /dev/null | grep -E '^step_[0-9]+$' | sort | tail -n 1; }
losses() { grep '"event": *"train"' "$1/metrics.jsonl" | sed -E 's/.*"loss": *([0-9.e+-]+).*/\1/'; }
fail() {
  echo "FAILED: $1"
  shift
  for log in "$@"; do echo "--- $log"; tail -n 20 "$log"; done
  exit 1
}
# Two loss curves within 1e-6 of each other, step by step.
same_curve() {
  [[ $(losses "$1" | wc -l) -gt 0 && $(losses "$1" | wc -l) == $(losses "$2" | wc -l) ]] || fail "$1 and $2 have not the same steps"
  paste <(losses "$1") <(losses "$2") |
    awk -v a="$1" -v b="$2" '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-6 * $1) { print "step " NR ": " $1 " and " $2; bad = 1 } } END { exit bad }' ||
    fail "the curves of $1 and $2 differ"
}
