#!/usr/bin/env bash
# bad_input.sh NLL [--regenerate]: every case of bad_input.golden: a command a user may get wrong, the exact exit code and
# message. Nothing may be created, changed or removed by it. A case is
#     # what is wrong
#     $ command
#     exit code
#     what it prints to standard error, with the working folder written as WORK
# --regenerate prints the file anew with what the program says now; read the difference before committing it.
. "$(dirname "$0")/setup_corpus.sh"
"$NLL" train tiny.json --steps 3 2> /dev/null
export NLL WORK
mkdir huggingface empty 'a folder with spaces'
cp run/checkpoints/step_00000003/{config.json,model.safetensors} huggingface/
printf 'not a token file at all' > garbage.bin
printf '{"text": "good"}\n{"text": 7}\n' > records.jsonl
: > empty.txt
unset HOME  # nothing may depend on it

snapshot() { find . -not -name run.lock \( -type f -printf '%p %s %T@\n' -o -printf '%p\n' \) | sort; }

produced=$(mktemp "${TMPDIR:-/tmp}/nll-golden-XXXXXX")
trap 'rm -rf "$WORK" "$produced"' EXIT
cases=0 changed=0
while IFS= read -r line; do
  case $line in
    '$ '*)
      before=$(snapshot)
      code=0
      message=$(bash -o pipefail -c "${line#'$ '}" 2>&1 > /dev/null < /dev/null) || code=$?
      after=$(snapshot)
      printf '%s\nexit %d\n' "$line" "$code" >> "$produced"
      [ -z "$message" ] || printf '%s\n' "$message" | sed -E "s|$WORK|WORK|g; s|$NLL|nll|g; s/^[0-9]{4}-[0-9-]+ [0-9:]+  //; s/[0-9]+\.[0-9]+ (GB|MB) (are available|free)/N \2/" >> "$produced"
      cases=$((cases + 1))
      if [ "$before" != "$after" ]; then
        changed=$((changed + 1))
        echo "FAILED: files changed by: $line"
        diff <(echo "$before") <(echo "$after") || true
      fi
      ;;
    '#'* | '') printf '%s\n' "$line" >> "$produced" ;;
  esac
done < "$HERE/bad_input.golden"

if [ "${2:-}" = --regenerate ]; then
  cat "$produced"
  exit 0
fi
diff "$HERE/bad_input.golden" "$produced" || { echo "FAILED: messages differ from bad_input.golden (left: expected)"; exit 1; }
[ $changed -eq 0 ] || exit 1
echo "$cases bad inputs: each refused with its exact message, nothing touched"
