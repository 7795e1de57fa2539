#!/usr/bin/env bash
# Makes records for every objective from a text of one passage a line (default: the King James Bible, from Debian's
# packages), and a sum for which a rule can check the answer. The same files each time.
#   scripts/examples/make_records.sh FOLDER [TEXT_FILE]
# Writes NAME.jsonl and NAME_held_out.jsonl, the latter from the last 4 % of the text, which `nll tokenize` holds out:
#   sft          prompt: a passage, completion: how the next one begins
#   preference   chosen: how it begins; rejected: the same with two neighbouring words swapped, or another passage's
#   unpaired     of such a pair one completion, label: which
#   contrastive  positive: how it begins; negatives: the beginnings of three others
#   sums         prompt: "3 lambs and 4 lambs make", answer: "7"; held out: things that were never counted in training
#   sums_sft     the same prompts with any digit: teaches how an answer looks and nothing of which it is
set -euo pipefail
[[ $# -ge 1 && $# -le 2 && $1 != -* ]] || { echo "usage: make_records.sh FOLDER [TEXT_FILE]" >&2; exit 2; }
out=$1 text=${2:-}
if [[ -n $text ]]; then
  [[ -f $text && -r $text ]] || { echo "make_records: $text: cannot be read (expected a text file)" >&2; exit 2; }
else
  command -v bible > /dev/null || {
    echo "make_records: no TEXT_FILE was given and no program \"bible\" is there; try scripts/setup.sh corpus" >&2
    exit 2
  }
fi
mkdir -p "$out"
part=$(mktemp -d "$out/.records-XXXXXX")
trap 'rm -rf "$part"' EXIT
if [[ -z $text ]]; then
  text=$part/text
  bible -f gen1:1-rev22:21 > "$text"
fi

# Bytes, not characters: words are parted at spaces only, and the result is the same with every awk.
LC_ALL=C awk -v part="$part" '
  function json(s) {
    gsub(/["\\]/, "\\\\&", s); gsub(/\n/, "\\n", s); gsub(/\t/, "\\t", s)
    return "\"" s "\""
  }
  function random(n) { state = (state * 16807) % 2147483647; return state % n }
  # Words from..to of a line.
  function words(line, from, to,    list, i, s) {
    split(line, list, " ")
    s = list[from]
    for (i = from + 1; i <= to; i++) s = s " " list[i]
    return s
  }
  # Its last words, as what a completion follows.
  function prompt_of(line,    n, list) {
    n = split(line, list, " ")
    return words(line, n > 20 ? n - 19 : 1, n) "\n"
  }
  # Its first words, to the end of a clause where there is one.
  function beginning(line,    n, list, i, end) {
    n = split(line, list, " ")
    if (n > 14) n = 14
    end = n
    for (i = n; i > 5; i--) if (list[i] ~ /[,;:.!?]$/) { end = i; break }
    return words(line, 1, end)
  }
  function swapped(s,    n, list, i, at, tries, t) {
    n = split(s, list, " ")
    for (tries = 0; tries < 9; tries++) {
      at = 1 + random(n - 1)
      if (list[at] != list[at + 1]) break
    }
    t = list[at]; list[at] = list[at + 1]; list[at + 1] = t
    s = list[1]
    for (i = 2; i <= n; i++) s = s " " list[i]
    return s
  }
  # How a passage other than the one at `i` begins, and not with the words of `but` where the text has others.
  function elsewhere(i, but,    at, s, tries) {
    do { at = 1 + random(lines); s = beginning(line[at]) } while ((at == i || s == but) && ++tries < 99)
    return s
  }
  function write(name, held, record) { print record > (part "/" name (held ? "_held_out" : "") ".jsonl") }

  function field(name, value) { return "\"" name "\": " value }
  function text_records(i, held,    prompt, true_text, right, wrong, others, k) {
    prompt = "{" field("prompt", json(prompt_of(line[i]))) ", "
    true_text = beginning(line[i + 1])
    right = json(true_text)
    write("sft", held, prompt field("completion", right) "}")
    wrong = json(random(2) ? swapped(true_text) : elsewhere(i, true_text))
    if (wrong != right) {
      write("preference", held, prompt field("chosen", right) ", " field("rejected", wrong) "}")
      k = random(2)
      write("unpaired", held, prompt field("completion", k ? right : wrong) ", " \
        field("label", k ? "true" : "false") "}")
    }
    others = json(elsewhere(i, true_text))
    for (k = 0; k < 2; k++) others = others ", " json(elsewhere(i, true_text))
    write("contrastive", held, prompt field("positive", right) ", " field("negatives", "[" others "]") "}")
  }
  function sums(    things, n, a, b, t, order, i, j, at, held, prompt) {
    n = split("lambs oxen sons men rams cities kings years days stones cubits sheep camels wells goats bullocks " \
              "women wives horses chariots gates pillars tents vessels", things, " ")
    for (t = 1; t <= n; t++)
      for (a = 0; a <= 9; a++)
        for (b = 0; a + b <= 9; b++) order[++at] = a " " b " " things[t] " " (t > n - 4)
    for (i = at; i > 1; i--) { j = 1 + random(i); t = order[i]; order[i] = order[j]; order[j] = t }
    for (i = 1; i <= at; i++) {
      split(order[i], things, " ")
      held = things[4]
      prompt = json(things[1] " " things[3] " and " things[2] " " things[3] " make")
      prompt = "{" field("prompt", prompt) ", "
      write("sums", held, prompt field("answer", json(things[1] + things[2])) "}")
      write("sums_sft", held, prompt field("completion", json(" " random(10))) "}")
    }
  }

  BEGIN { state = 20261123 }
  {
    gsub(/[\001-\010\013-\037\177]/, " ")
    sub(/^ +/, "")
    sub(/^[0-9]*[A-Za-z]+[0-9]+:[0-9]+ /, "")  # the name of a verse
    sub(/ +$/, "")
    # A passage of fewer words says nothing of what follows.
    if (split($0, list, " ") >= 6) line[++lines] = $0
  }
  END {
    if (lines < 100) {
      print "make_records: " lines " lines of at least 6 words (expected 100 or more)" > "/dev/stderr"
      failed = 1
      exit 1
    }
    first_held = int(lines * 0.96)
    step = first_held > 16000 ? int(first_held / 8000) : 1
    for (i = 1; i + 1 < first_held; i += step) text_records(i, 0)
    step = lines - first_held > 1024 ? int((lines - first_held) / 512) : 1
    for (i = first_held; i + 1 <= lines; i += step) text_records(i, 1)
    sums()
  }
' "$text"
for file in "$part"/*.jsonl; do mv "$file" "$out/"; done
wc -l "$out"/*.jsonl | sed '$d'
