#!/usr/bin/env bash
# What the documents name exists: linked files, scripts, configs, rooms, and the verbs of `nll`.   documents.sh ROOT
set -euo pipefail
cd "$1"
mapfile -t documents < <(find README.md CHANGELOG.md docs -name '*.md' 2> /dev/null | LC_ALL=C sort)
status=0
fault() { echo "$1"; status=1; }

for document in "${documents[@]}"; do
  # Links, relative to the document.
  while IFS=: read -r line target; do
    target=${target#*](}; target=${target%)}; target=${target%%#*}
    [[ -z $target || $target == *://* || $target == mailto:* ]] && continue
    [[ -e $(dirname "$document")/$target ]] || fault "$document:$line: link to $target, which does not exist"
  done < <(grep -noE '\]\([^) ]+\)' "$document" || true)
  # Files of the checkout by name.
  while IFS=: read -r line target; do
    [[ -e $target ]] || fault "$document:$line: names $target, which does not exist"
  done < <(grep -noE '\b(scripts|configs|kernels|src|tests|cmake)/[A-Za-z0-9_./-]*\.(sh|py|json|cpp|h|cu|cuh|cmake|txt)\b' "$document" || true)
  # Verbs, where a command line or `nll verb` stands.
  while IFS=: read -r line target; do
    verb=${target##*nll }; verb=${verb%[ \`]}
    [[ -e src/cli/$verb.cpp ]] || fault "$document:$line: \`nll $verb\`, but there is no src/cli/$verb.cpp"
  done < <(grep -noE '(^ *(\$ )?|`|build/cpu/)nll [a-z]+($|[ `])' "$document" || true)
done
[[ $status -eq 0 ]] && echo "documents: ${#documents[@]} looked at, everything they name exists"
exit $status
