# Cloze questions out of text: which word ends this line? One tab-separated row a question: the line without its last
# word, four endings, and the index of the right one. The three wrong ones end other lines of the same text.
#   awk -v most=500 -f cloze.awk TEXT
function next_number(below) {
  # A linear congruential generator, so that every awk asks the same.
  seed = (seed * 16807) % 2147483647
  return int(seed / 1000) % below
}
BEGIN { seed = 1337 }
{
  gsub(/\t/, " ")
  words = split($0, word, " ")
  if (words < 6) next
  last = word[words]
  gsub(/[^A-Za-z]+$/, "", last)
  if (last !~ /^[A-Za-z][a-z][a-z][a-z]+$/) next
  context = word[1]
  for (i = 2; i < words; ++i) context = context " " word[i]
  contexts[++lines] = context
  gold[lines] = last
  if (!(tolower(last) in known)) {
    known[tolower(last)] = 1
    pool[++endings] = last
  }
}
END {
  if (endings < 4) exit
  for (n = 1; n <= lines && asked < most; ++n) {
    delete used
    used[tolower(gold[n])] = 1
    right = next_number(4)
    row = contexts[n]
    for (i = 0; i < 4; ++i) {
      choice = gold[n]
      if (i != right) {
        do { choice = pool[next_number(endings) + 1] } while (tolower(choice) in used)
        used[tolower(choice)] = 1
      }
      row = row "\t" choice
    }
    print row "\t" right
    ++asked
  }
}
