# Prints a small text with grammar enough to be learnable: awk -v lines=N -f corpus.awk
BEGIN {
  split("fox river stone miller garden winter lantern harbour", noun, " ");
  split("sees follows keeps forgets carries finds", verb, " ");
  split("old quiet bright small distant", adjective, " ");
  seed = 1;
  for (i = 1; i <= lines; ++i) {
    printf "%d. The %s %s %s the %s %s, and the %s is %s.\n", i, pick(adjective, 5), pick(noun, 8), pick(verb, 6),
      pick(adjective, 5), pick(noun, 8), pick(noun, 8), pick(adjective, 5);
  }
}
# A linear congruential generator, so that every awk prints the same text.
function pick(words, count) {
  seed = (seed * 16807) % 2147483647;
  return words[int(seed / 1000) % count + 1];
}
