# Sourced by the program tests: $NLL is the program, $WORK a fresh folder that is removed at the end; makes
# $WORK/data (tokenized) and $WORK/tiny.json, a config whose run takes about a second.
set -eu
NLL=$1
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/nll-program-XXXXXX")
trap 'rm -rf "$WORK"' EXIT
awk -v lines=400 -f "$HERE/corpus.awk" > "$WORK/corpus.txt"
cat > "$WORK/tiny.json" <<'JSON'
{
  "run": { "directory": "run" },
  "data": { "train": "data" },
  "model": { "layers": 2, "heads": 2, "width": 32, "context": 32, "vocabulary": 300, "dropout": 0.1 },
  "batch": { "tokens_per_step": 256, "sequences": 4 },
  "optimizer": { "learning_rate": 3e-3 },
  "schedule": { "warmup_steps": 5, "steps": 40 },
  "evaluation": { "every_steps": 10, "tokens": 512 },
  "checkpoint": { "every_steps": 1, "keep_last": 2 },
  "sample": { "every_steps": 20, "tokens": 16 },
  "cpu": { "threads": 1 }
}
JSON
(cd "$WORK" && "$NLL" tokenize corpus.txt --output data --vocab-size 300 > /dev/null)
cd "$WORK"
