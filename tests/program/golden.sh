# Sourced by the tests of bad input: `compare_with_golden FILE [--regenerate]` runs every case of FILE in the working
# folder $WORK. A case is
#     # what is wrong
#     $ command
#     exit code
#     what it prints to standard error, with the working folder written as WORK
# and must neither create, change nor remove anything. --regenerate prints the file anew with what the program says now;
# read the difference before committing it.
export NLL WORK
unset HOME  # nothing may depend on it

snapshot() { find . -not -name run.lock \( -type f -printf '%p %s %T@\n' -o -printf '%p\n' \) | sort; }

compare_with_golden() {
  local golden=$1 cases=0 changed=0 line before after code message
  produced=$(mktemp "${TMPDIR:-/tmp}/nll-golden-XXXXXX")
  trap 'rm -rf "$WORK" "$produced"' EXIT
  while IFS= read -r line; do
    case $line in
      '$ '*)
        before=$(snapshot)
        code=0
        message=$(bash -o pipefail -c "${line#'$ '}" 2>&1 > /dev/null < /dev/null) || code=$?
        after=$(snapshot)
        printf '%s\nexit %d\n' "$line" "$code" >> "$produced"
        [ -z "$message" ] || printf '%s\n' "$message" | sed -E "s|$WORK|WORK|g; s|$NLL|nll|g; s/^[0-9]{4}-[0-9-]+ [0-9:]+  //; s/-[0-9a-f]{16}\.cache/-KEY.cache/; s/[0-9]+\.[0-9]+ (GB|MB) (are available|free)/N \2/" >> "$produced"
        cases=$((cases + 1))
        if [ "$before" != "$after" ]; then
          changed=$((changed + 1))
          echo "FAILED: files changed by: $line"
          diff <(echo "$before") <(echo "$after") || true
        fi
        ;;
      '#'* | '') printf '%s\n' "$line" >> "$produced" ;;
    esac
  done < "$golden"
  if [ "${2:-}" = --regenerate ]; then
    cat "$produced"
    exit 0
  fi
  diff "$golden" "$produced" || { echo "FAILED: messages differ from $(basename "$golden") (left: expected)"; exit 1; }
  [ $changed -eq 0 ] || exit 1
  echo "$cases bad inputs: each refused with its exact message, nothing touched"
}
