# shellcheck shell=bash
# Sourced by scripts/evidence.sh in its work folder: the tables of $output out of json/.
readonly round='def r(n): if . == null then "-" else (. * pow(10; n) | round) / pow(10; n) | tostring end;
def digits(n): if . == 0 then "0" else (log10 | floor) as $e | pow(10; n - 1 - $e) as $m | (. * $m | round) / $m | tostring end;
def row: "| " + (map(tostring) | join(" | ")) + " |";
def interval(n): if . == null then "-" else "\(.low | r(n)) to \(.high | r(n))" end;
# Of a list: its mean, and "low to high": 95 % of Student.
def student: {"2": 12.706, "3": 4.303, "4": 3.182, "5": 2.776}[length | tostring];
def mean: add / length;
def spread(n): student as $t | if $t == null then "-" else
  mean as $m | ((map((. - $m) * (. - $m)) | add) / (length - 1) / length | sqrt * $t) as $e |
  "\($m - $e | r(n)) to \($m + $e | r(n))" end;
'
# table HEADER... then the rows of a jq filter on standard input.
rows() { jq -rs "$round $*"; }
heading() { printf '\n## %s\n\n' "$1"; }
columns() {
  printf '| %s ' "$@"; echo "|"
  printf '|---%.0s' "$@"; echo "|"
}
page() {  # NAME TITLE; the content comes from standard input
  {
    echo "# $2"
    echo
    cat
    heading "Made by"
    echo '```sh'
    echo "scripts/evidence.sh${small:+ --small}"
    echo '```'
    echo
    echo "Text: \`$(basename "$text")\`, $(wc -c < "$text") bytes, checksum $(cksum < "$text" | cut -d' ' -f1); every ${held}th" \
      "document held out ($(wc -l < held.jsonl) documents, $text_bytes bytes). Models: $(tr -d '"' <<< "$model"), $batch tokens a step," \
      "$steps steps, vocabulary $middle, where nothing else is said. Seeds: $seeds; of evaluations those of the commands." \
      "$("$nll" --version) on $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores."
  } > "$output/$1.md.part"
  mv "$output/$1.md.part" "$output/$1.md"
}
# drawn NAME TITLE ACROSS UP [NAME=VALUE...]: plot.awk of the rows on standard input as $output/NAME.svg, and its place
# in the page.
drawn() {
  local name=$1 title=$2 set=()
  set+=(-v "title=$2" -v "across=$3" -v "up=$4")
  shift 4
  for setting in "$@"; do set+=(-v "$setting"); done
  awk -F'\t' "${set[@]}" -f "$here/scripts/evidence/plot.awk" > "$output/$name.svg.part" || fail "plot $name.svg"
  mv "$output/$name.svg.part" "$output/$name.svg"
  printf '\n![%s](%s.svg)\n' "$title" "$name"
}
# points FILTER: of a jq filter over all of standard input as a list: a row of plot.awk for each of its lists.
points() { jq -rs "$round $* | map(if . == null then \"-\" else tostring end) | @tsv"; }
# The value of a key in the name of a run of a sweep.
value_of() { sed -E "s/.*$1=([^,]+).*/\1/" <<< "$2"; }

# (a), (g)
{
  echo "Does scoring a text in one parallel pass give what writing it step by step gives, what does that save, and what does"
  echo "it cost the model to go on from its own words? \`nll eval RUN --teacher-forcing\`, explained in"
  echo "[evaluation](../evaluation.md)."
  heading "Parallel = step by step"
  columns "tokens of context" windows "largest difference of a log-probability" mean "limit"
  rows '.[0] | .equality.limits as $l | .equality.lengths[] | [.length, .windows, (.largest | r(9)), (.mean | r(9)), $l.largest] | row' < json/forcing.json
  rows '.[0] | .causality.positions | "\nCausality: after changing one token, of \(map(.earlier) | add) earlier log-probabilities \(map(.earlier_different) | add) differ in any bit, of \(map(.later) | add) later ones \(map(.later_different) | add)."' < json/forcing.json
  heading "Speed: one pass against as many steps"
  columns "tokens of context" "parallel, tokens/s" "step by step, tokens/s" ratio "free running, tokens/s"
  rows '.[0].throughput[] | [.length, (.parallel_tokens_per_second | round), (.stepwise_tokens_per_second | round), (.ratio | r(1)), (.free_running_tokens_per_second | round)] | row' < json/forcing.json
  points '.[0].throughput[] | ["parallel", .length, .parallel_tokens_per_second], ["step by step", .length, .stepwise_tokens_per_second], ["free running", .length, .free_running_tokens_per_second]' < json/forcing.json |
    drawn speed "One pass against as many steps" "tokens of context" "tokens a second" log_x=1 log_y=1
  heading "Exposure bias"
  echo "The loss of gold text after \`k\` tokens of the model's own, less that after gold text. \`other text\`: after \`k\` tokens of"
  echo "gold text from another place, which breaks the thread as well."
  echo
  columns k "excess" "standard error" "excess, other text" "standard error"
  rows '.[0].exposure_bias.curve[] | [.k, (.excess.mean | r(4)), (.excess.standard_error | r(4)), (.excess_other_text.mean | r(4)), (.excess_other_text.standard_error | r(4))] | row' < json/forcing.json
  points 'def bar(n; e): if e.standard_error == null then [n, e.mean] else [n, e.mean, e.mean - 1.96 * e.standard_error, e.mean + 1.96 * e.standard_error] end;
    .[0].exposure_bias.curve | (.[] | ["own words"] + bar(.k; .excess)), (.[] | select(.excess_other_text.mean != null) | ["other gold text"] + bar(.k; .excess_other_text))' < json/forcing.json |
    drawn exposure "What foreign words before it cost gold text" "k, tokens before the continuation" "excess loss, nats per token" log_x=1 zero=1
  columns "steps after the gold prefix" "right, gold before" "right, free running"
  rows '.[0].exposure_bias.accuracy[] | ["\(.first_step) to \(.last_step)", (.gold_before.mean | r(3)), (.free_running.mean | r(3))] | row' < json/forcing.json
} | page teacher-forcing "Teacher forcing: parallel, sequential, free running"

# (b), (h)
for file in json/smoothing/*.eval.json; do
  name=$(basename "$file" .eval.json)
  jq -s --arg smoothing "$(value_of label_smoothing "$name")" \
    --arg seed "$(value_of seed "$name")" '{smoothing: ($smoothing | tonumber), seed: $seed, loss: .[0].loss, perplexity: .[0].perplexity, bits: .[0].bits_per_byte, ece: .[0].ece,
      accuracy: .[0].accuracy, cloze: .[1].scores.sum.accuracy, questions: .[1].questions,
      temperature: .[2].temperature.value, before: .[2].temperature.before, after: .[2].temperature.after, events: .[2].events, bins: .[0].calibration}' \
    "$file" "json/smoothing/$name.choice.json" "json/smoothing/$name.calibration.json"
done > smoothing.jsons
{
  echo "Training with label smoothing, each with the same seeds; all numbers are unsmoothed and of held-out text. Intervals:"
  echo "95 % of Student's t over the seeds."
  heading "Perplexity, calibration, cloze"
  columns smoothing seeds perplexity "95 %" ECE "95 %" accuracy "cloze accuracy" "95 %"
  rows 'group_by(.smoothing)[] | [.[0].smoothing, length, (map(.perplexity) | mean | r(2)), (map(.perplexity) | spread(2)), (map(.ece) | mean | r(4)), (map(.ece) | spread(4)), (map(.accuracy) | mean | r(4)), (map(.cloze) | mean | r(4)), (map(.cloze) | spread(4))] | row' < smoothing.jsons
  rows '"\nCloze: which of four words ends this line? \(.[0].questions) questions out of the held-out text, by the sum of log-probabilities; guessing gives 0.25."' < smoothing.jsons
  points 'group_by(.smoothing)[] | [ "mean of \(length) seeds", .[0].smoothing, (map(.perplexity) | mean)], (.[] | ["seed \(.seed)", .smoothing, .perplexity])' < smoothing.jsons |
    drawn smoothing-perplexity "Label smoothing and perplexity" "label smoothing" "perplexity, unsmoothed"
  points 'group_by(.smoothing)[] | [ "mean of \(length) seeds", .[0].smoothing, (map(.ece) | mean)], (.[] | ["seed \(.seed)", .smoothing, .ece])' < smoothing.jsons |
    drawn smoothing-ece "Label smoothing and calibration" "label smoothing" "ECE, 15 bins" zero=1
  heading "Against no smoothing, seed by seed"
  echo "Differences of runs with the same seed, which begin with the same weights and read the same batches."
  echo
  columns smoothing "perplexity, difference" "95 %" "bits per byte, difference" "95 %" "ECE, difference" "95 %" "cloze, difference" "95 %"
  rows '(map(select(.smoothing == 0) | {(.seed): .}) | add) as $none | group_by(.smoothing)[] | select(.[0].smoothing > 0) |
    . as $runs | def less(f): $runs | map(f - ($none[.seed] | f)); [.[0].smoothing,
    (less(.perplexity) | (mean | r(2)), spread(2)), (less(.bits) | (mean | r(4)), spread(4)), (less(.ece) | (mean | r(4)), spread(4)), (less(.cloze) | (mean | r(4)), spread(4))] | row' < smoothing.jsons
  heading "The same documents"
  rows '.[0] | "`nll eval RUN --against OTHER` of smoothing 0 less smoothing 0.1, seed 1, \(.documents) documents: \(.loss.difference | r(4)) nats/token, 95 % interval \(.loss.interval | interval(4)); \(.bits_per_byte.difference | r(4)) bits/byte, \(.bits_per_byte.interval | interval(4)). Without smoothing the loss is lower in \(.loss.first_better_share * 100 | r(1)) % of the documents."' < json/against_smoothing.json
  heading "Reliability"
  echo "Is a model right as often as it is sure? Predictions of all seeds by their confidence, in 15 bins; bins of fewer than 100"
  echo "tokens are left out."
  points 'group_by(.smoothing)[] | "smoothing \(.[0].smoothing)" as $name | [.[].bins | to_entries[]] | group_by(.key)[] |
    {count: (map(.value.count) | add), correct: (map(.value.correct) | add), sum: (map(.value.confidence_sum) | add)} | select(.count >= 100) |
    [$name, .sum / .count, .correct / .count]' < smoothing.jsons |
    drawn reliability "Reliability by label smoothing" "confidence" "share right" "diagonal=as sure as right" zero=1
  heading "Calibration before and after a temperature"
  echo "\`nll eval RUN --calibration\`: a temperature fitted on half of a sample, the numbers on the other half. Above 1 the model"
  echo "was too sure, below 1 not sure enough."
  echo
  columns smoothing temperature "ECE as it is" "ECE at it" "loss as it is" "loss at it"
  rows 'group_by(.smoothing)[] | [.[0].smoothing, (map(.temperature) | mean | r(3)), (map(.before.ece) | mean | r(4)), (map(.after.ece) | mean | r(4)), (map(.before.loss) | mean | r(4)), (map(.after.loss) | mean | r(4))] | row' < smoothing.jsons
  heading "Is what has probability p right in p of all cases?"
  echo "Every probability of every token of the vocabulary, all seeds together: how often it came, by what the model said"
  echo "(smoothing 0, 0.05, ...). Below a millionth next to nothing came."
  echo
  names=()
  for kind in $(jq -s 'map(.smoothing) | unique[]' smoothing.jsons); do names+=("$kind: said" "$kind: came"); done
  columns "probability up to" "${names[@]}"
  rows '(map(.smoothing) | unique) as $kinds | [.[] | .smoothing as $s | .events[] | . + {smoothing: $s}] | group_by(.to) | reverse[] |
    . as $bins | select(.[0].to > 9e-7) | [(.[0].to | digits(3))] + [$kinds[] as $k | [$bins[] | select(.smoothing == $k)] |
    if length == 0 then "-", "-" else (map(.events) | add) as $all | (map(.events * .probability), map(.happened) | add / $all | digits(3)) end] | row' < smoothing.jsons
} | page label-smoothing "Label smoothing: perplexity, calibration, cloze"

# (c)
{
  echo "The same text, model and number of passes over the text, with tokenizers of different size. Loss per token and"
  echo "perplexity count pieces that each tokenizer cuts otherwise, so they cannot be compared; bits per byte can."
  heading "Three tokenizers"
  columns vocabulary "tokens of held-out text" bytes "loss per token" perplexity "bits per byte" "95 %"
  for vocabulary in "${vocabularies[@]}"; do
    rows "[$vocabulary, .[0].tokens, .[0].bytes, (.[0].loss | r(4)), (.[0].perplexity | r(2)), (.[0].bits_per_byte | r(4)), (.[0].intervals.bits_per_byte | interval(4))] | row" < "json/tokenizer_$vocabulary.json"
  done
  heading "Paired"
  columns "compared with $middle ids" "difference, bits per byte" "95 %" "documents where $middle is better"
  for file in json/against_tokenizer_*.json; do
    rows "[\"$(basename "$file" .json | sed 's/.*_//') ids\", (.[0].bits_per_byte.difference | r(4)), (.[0].bits_per_byte.interval | interval(4)), \"\(.[0].bits_per_byte.first_better_share * 100 | r(1)) %\"] | row" < "$file"
  done
} | page tokenizers "Perplexity and bits per byte across tokenizers"

# (d)
cp scaling.svg "$output/scaling.svg"
{
  echo "Finished runs of \`nll sweep\`, each with its own schedule to the end, and what \`nll fit\` makes of them"
  echo "([how](../sweep.md))."
  echo
  echo '![Loss over compute](scaling.svg)'
  heading "Runs"
  columns N "N without tables" D "loss" "fitted"
  rows '.[0].runs | sort_by(.parameters, .tokens)[] | [.parameters, .without_tables, .tokens, (.loss | r(4)), (.fitted | r(4))] | row' < json/fit.json
  heading "Hoffmann: L = E + A / N^alpha + B / D^beta"
  columns constant value "95 %"
  rows '.[0].hoffmann.constants | to_entries[] | [.key, (.value.value | r(4)), (.value.interval | "\(.[0] | r(4)) to \(.[1] | r(4))")] | row' < json/fit.json
  rows '.[0].hoffmann.optimum[] | "\nBest for \(.flops) FLOPs: N = \(.parameters.value | r(0)) (\(.parameters.interval | map(r(0)) | join(" to "))), D = \(.tokens.value | r(0)) (\(.tokens.interval | map(r(0)) | join(" to "))), loss \(.loss.value | r(4)) (\(.loss.interval | map(r(4)) | join(" to ")))."' < json/fit.json
  heading "Kaplan: L = (scale / size)^exponent"
  columns over exponent "95 %"
  rows '.[0].kaplan | to_entries[] | select(.value != null) | [.key, (.value.exponent | r(4)), (.value.interval | map(r(4)) | join(" to "))] | row' < json/fit.json
} | page scaling "A scaling law from finished runs"

# (e), negation
{
  echo "\`nll eval RUN --by-frequency\` and \`--probe\`; what the classes are: [evaluation](../evaluation.md)."
  heading "Loss by kind of token"
  columns kind tokens "loss per token" "share of the loss"
  rows '.[0] | (.loss * .tokens) as $all | .classes[] | select(.tokens > 0) | [.class, .tokens, (.loss | r(4)), "\(.nll / $all * 100 | r(1)) %"] | row' < json/classes.json
  heading "Loss by how often the training text has the token"
  columns "times" tokens loss "loss of frequencies alone"
  rows '.[0].by_frequency[] | select(.tokens > 0) | ["\(.first) to \(.last)", .tokens, (.loss | r(4)), (.unigram_loss | r(4))] | row' < json/classes.json
  heading "Loss by length of context"
  echo "\`nll eval RUN --by-context N\`: the same tokens, each predicted from its last tokens alone."
  echo
  columns "tokens of context" loss "standard error" "above the longest" "standard error"
  rows '.[0].by_context[] | [.context, (.loss | r(4)), (.standard_error | r(4)), (.excess | r(4)), (.excess_standard_error | r(4))] | row' < json/classes.json
  points '.[0] | (.by_context[] | ["the same tokens", .context, .loss, .loss - 1.96 * .standard_error, .loss + 1.96 * .standard_error]), (.by_position[] | select(.tokens > 0) | ["by position", ((.first + .last) / 2), .loss])' < json/classes.json |
    drawn context "Loss by length of context" "tokens of context" "loss, nats per token" log_x=1
  echo "\`by position\` are the tokens that stand there in windows that do not overlap: other tokens at each length."
  heading "Not"
  rows '.[0] | "\(.records) pairs of statements: the true ending is likelier after the affirmed one in \(.acc_affirm.rate | r(3)) (\(.acc_affirm | interval(3))), the other one after the negated one in \(.acc_negate.rate | r(3)) (\(.acc_negate | interval(3))); the preference changes in \(.flip_rate.rate | r(3)) (\(.flip_rate | interval(3)))."' < json/negation.json
  echo
  columns word words "nats per word" "nats per token"
  rows '.[0] | ([["not", .function_words["not"]], ["all other function words", .other_function_words]] + (.function_words | to_entries | map(select(.key != "not") | [.key, .value]) | .[:8]))[] | select(.[1] != null) | [.[0], .[1].words, (.[1].per_word | r(3)), (.[1].per_token | r(3))] | row' < json/negation.json
} | page token-classes "Loss by kind of token"

# (f)
{
  echo "\`nll eval RUN --generation\`: the same prompts continued under a grid of temperatures and penalties"
  echo "([measures](../evaluation.md)). The loss is the model's own, of what it wrote."
  heading "Repetition against penalties"
  columns temperature repetition frequency presence loss distinct-1 distinct-2 seq-rep-4 rep-32 "loop rate"
  rows '.[0] | ["the text itself", "", "", "", (.text_itself.loss | r(3)), (.text_itself.distinct["1"] | r(3)), (.text_itself.distinct["2"] | r(3)), (.text_itself.seq_rep["4"] | r(3)), (.text_itself.rep["32"] | r(3)), (.text_itself.loop_rate | r(3))] | row' < json/generation.json
  rows '.[0].settings[] | [.temperature, .repetition_penalty, .frequency_penalty, .presence_penalty, (.loss | r(3)), (.distinct["1"] | r(3)), (.distinct["2"] | r(3)), (.seq_rep["4"] | r(3)), (.rep["32"] | r(3)), (.loop_rate | r(3))] | row' < json/generation.json
  points '.[0] | (.settings | group_by(.temperature)[] | sort_by(.loss)[] | ["temperature \(.temperature)", .loss, .rep["32"]]), (.text_itself | ["the text itself", .loss, .rep["32"]])' < json/generation.json |
    drawn repetition "Repetition and the model's own loss, a point for each setting" "loss of what was written, nats per token" "rep-32" zero=1 loose=1
} | page repetition "Repetition against penalties"
