# shellcheck shell=bash
# Sourced by scripts/evidence.sh in its work folder: what must hold of the measurements, whatever the models are.
# holds CLAIM FILTER FILE...: the jq filter, over all files as a list, says true.
holds() {
  local claim=$1 filter=$2
  shift 2
  jq -es "def near(a; b; e): ((a - b) | fabs) <= e * ((b | fabs) + 1e-12); $filter" "$@" > /dev/null || fail "$claim ($*)"
  checked=$((checked + 1))
}
checked=0
holds "one parallel pass equals decoding step by step, and no token sees what comes after it" '.[0].passed' json/forcing.json
for file in json/smoothing/*.eval.json json/tokenizer_*.json json/classes.json; do
  holds "the loss of the seven classes adds up to the text's" \
    '.[0] as $e | [$e.classes[2:][].nll] | near(add; $e.loss * $e.tokens; 1e-9)' "$file"
  holds "the tokens of the seven classes add up to the text's" '.[0] as $e | ([$e.classes[2:][].tokens] | add) == $e.tokens' "$file"
  holds "the bins of the reliability diagram hold every token" '.[0] as $e | ([$e.calibration[].count] | add) == $e.tokens' "$file"
  holds "perplexity is e to the loss" '.[0] as $e | near($e.perplexity; $e.loss | exp; 1e-9)' "$file"
done
text_bytes=$(jq -s 'map(.text | utf8bytelength) | add' held.jsonl)
for vocabulary in "${vocabularies[@]}"; do
  holds "every tokenizer's tokens have the bytes of the text" ".[0].bytes == $text_bytes" "json/tokenizer_$vocabulary.json"
done
holds "tokenizers compare by the same bytes" '[.[].bytes] | unique | length == 1' json/against_tokenizer_*.json
holds "models with different tokenizers are not compared by token" 'all(.[]; .same_tokenizer == false and .loss == null)' json/against_tokenizer_*.json
holds "a model equals itself in every document" '.[0] | .loss.difference == 0 and .loss.equal == .documents' json/against_itself.json
for file in json/smoothing/*.calibration.json; do
  holds "of all events of a sampled token one comes" '.[0] as $c | ([$c.events[].happened] | add) == $c.sampled' "$file"
  holds "the probabilities of a sampled token add up to one" \
    '.[0] as $c | near([$c.events[] | .events * .probability] | add; $c.sampled; 1e-6)' "$file"
  holds "a fitted temperature is within what is tried" '.[0].temperature.value | . >= 0.5 and . <= 2' "$file"
done
holds "the scaling law is fitted to twelve finished runs or more" '.[0] | (.runs | length) >= 12 and .hoffmann != null' json/fit.json
holds "the same tokens are cut to contexts of one, two, four, ... tokens, and the excess over the longest ends at zero" \
  '.[0].by_context as $all | $all | (length >= 2 and .[0].context == 1 and .[1].context == 2 and .[-1].excess == 0)
  and all(.[]; . as $one | (($one.excess - ($one.loss - $all[-1].loss)) | fabs) < 1e-9)' json/classes.json
holds "every penalty setting wrote text" 'all(.[0].settings[]; .tokens > 0)' json/generation.json
grep -q '</svg>' scaling.svg || fail "the plot of the scaling law is not whole"
say "$checked invariants hold"
