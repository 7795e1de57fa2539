#!/usr/bin/env bash
# bad_input.sh NLL [--regenerate]: every case of bad_input.golden: a command a user may get wrong, the exact exit code and
# message. Nothing may be created, changed or removed by it. golden.sh says what a case is.
. "$(dirname "$0")/setup_corpus.sh"
. "$HERE/golden.sh"
"$NLL" train tiny.json --steps 3 2> /dev/null
mkdir huggingface empty 'a folder with spaces'
cp run/checkpoints/step_00000003/{config.json,model.safetensors} huggingface/
printf 'not a token file at all' > garbage.bin
printf '{"text": "good"}\n{"text": 7}\n' > records.jsonl
: > empty.txt
compare_with_golden "$HERE/bad_input.golden" "${2:-}"
