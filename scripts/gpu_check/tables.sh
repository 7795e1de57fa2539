#!/usr/bin/env bash
# Tables in Markdown of the records that gpu_check.sh --bench left in a folder.   scripts/gpu_check/tables.sh FOLDER
# A record is PROGRAM_SIZE_CASE_ROUND.json; of several rounds the median counts. Whole steps beside what the GPU allows and
# the peers; what each choice costs; stage by stage how far a step is from the practical line, the largest gap first; ops.
set -euo pipefail
[[ $# -eq 1 && -d $1 ]] || { echo "usage: tables.sh FOLDER" >&2; exit 2; }
cd "$1"
shopt -s nullglob
records=({nll,pytorch,llmc}_*_*_*.json)
((${#records[@]} > 0)) || { echo "tables: $1: no records" >&2; exit 2; }
exec awk -v facts="$(tail -n 1 facts.log 2> /dev/null || true)" '
  # The first value of a key in a record; "" where there is none.
  function value(text, key,  found) {
    if (!match(text, "\"" key "\": *(\"[^\"]*\"|[-+.0-9eE]+|null)")) return ""
    found = substr(text, RSTART, RLENGTH)
    sub(/^"[^"]*": */, "", found)
    gsub(/^"|"$/, "", found)
    return found == "null" ? "" : found
  }
  # The median of the numbers in a list with spaces between.
  function median(list,  n, a, i, j, t) {
    n = split(list, a, " ")
    for (i = 2; i <= n; ++i) for (j = i; j > 1 && a[j - 1] + 0 > a[j] + 0; --j) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
    return n == 0 ? 0 : n % 2 ? a[(n + 1) / 2] + 0 : (a[n / 2] + a[n / 2 + 1]) / 2
  }
  function tokens(rate) {
    rate += 0
    if (rate < 1e4) return rate ? sprintf("%.0f", rate) : ""
    return sprintf(rate < 1e5 ? "%.1fk" : "%.0fk", rate / 1e3)
  }
  function percent(x) { return sprintf("%.1f %%", 100 * x) }
  function rate_of(program, size, which) { return median(rates[program, size, which]) }

  FNR == 1 { files[++count] = FILENAME }
  { text[FILENAME] = text[FILENAME] $0 "\n" }

  END {
    for (i = 1; i <= count; ++i) {
      name = files[i]
      sub(/\.json$/, "", name)
      n = split(name, part, "_")
      which = part[3]
      for (k = 4; k < n; ++k) which = which "_" part[k]
      record = text[files[i]]
      program = part[1]; size = part[2]; round = part[n]
      if (round == "choice") { choice[size, which] = value(record, "tokens_per_second"); if (!((size, which) in asked)) { asked[size, which] = ++choices; choice_at[choices] = size SUBSEP which } }
      else if (which == "stages") stages[size] = record
      else {
        rates[program, size, which] = rates[program, size, which] " " value(record, "tokens_per_second")
        of[program, size, which] = record
        called[program] = value(record, "program")
      }
      if (!(size in seen)) { seen[size] = 1; sizes[++kinds] = size }
      if (program == "nll") last = record
    }
    # In the order of their size: 124m before 1558m.
    for (i = 2; i <= kinds; ++i) for (j = i; j > 1 && sizes[j - 1] + 0 > sizes[j] + 0; --j) { t = sizes[j]; sizes[j] = sizes[j - 1]; sizes[j - 1] = t }

    printf "%s, %s; %s; run %s\n", value(last, "device"), value(last, "date"), value(last, "software"), value(last, "run")
    if (facts != "") printf "(name, driver, power limit, largest clock, memory, MIG: %s)\n", facts
    titles["step"] = "Whole steps, loss and norm read each step"
    titles["b4"] = "Four sequences, an optimizer step after each"
    for (w = 1; w <= 2; ++w) {
      which = w == 1 ? "step" : "b4"
      head = 0
      for (i = 1; i <= kinds; ++i) {
        size = sizes[i]
        if (!(("nll", size, which) in rates)) continue
        if (!head++) {
          printf "\n## %s\n\n", titles[which]
          print "| model | tokens a step | batch | limit | practical | nll, tokens/s | MFU | of practical | PyTorch | llm.c | nll / the better |"
          print "|---|---|---|---|---|---|---|---|---|---|---|"
        }
        record = of["nll", size, which]
        ours = rate_of("nll", size, which); torch = rate_of("pytorch", size, which); llmc = rate_of("llmc", size, which)
        better = torch > llmc ? torch : llmc
        practical = value(record, "practical_tokens_per_second")
        mfu = value(record, "mfu")
        printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", size, value(record, "tokens_per_step"),
          value(record, "batch"), tokens(value(record, "limit_tokens_per_second")), tokens(practical), tokens(ours),
          mfu == "" ? "n/a" : percent(mfu * ours / value(record, "tokens_per_second")),
          practical == "" ? "n/a" : percent(ours / practical), torch ? tokens(torch) : "not there",
          llmc ? tokens(llmc) : "not there", better ? sprintf("%.2f", ours / better) : "n/a"
      }
    }
    n = split("pytorch llmc", peer, " ")
    for (i = 1; i <= n; ++i) if (peer[i] in called) peers = peers (peers == "" ? "" : ", ") called[peer[i]]
    if (peers != "") printf "\nPeers: %s.\n", peers

    if (choices) {
      print "\n## What a choice costs\n\n| model | choice | tokens/s | beside the default |\n|---|---|---|---|"
      for (i = 1; i <= choices; ++i) {
        split(choice_at[i], part, SUBSEP)
        beside = part[2] ~ /^b4/ ? rate_of("nll", part[1], "b4") : choice[part[1], "step"]
        printf "| %s | %s | %s | %s |\n", part[1], part[2], tokens(choice[part[1], part[2]]),
          beside ? sprintf("%.3f", choice[part[1], part[2]] / beside) : "n/a"
      }
    }

    for (i = 1; i <= kinds; ++i) {
      if (!(sizes[i] in stages)) continue
      n = split(stages[sizes[i]], line, "\n")
      found = operations = 0
      for (k = 1; k <= n; ++k) {
        if (line[k] ~ /"name":/) stage[++found] = value(line[k], "name")
        if (line[k] ~ /"measured_seconds":/) measured[found] = 1e3 * value(line[k], "measured_seconds")
        if (line[k] ~ /"practical_seconds":/) floor[found] = 1e3 * value(line[k], "practical_seconds")
        if (line[k] ~ /"op":/) op[++operations] = value(line[k], "op")
        if (operations && line[k] ~ /"seconds":/) each[operations] = value(line[k], "seconds")
        if (operations && line[k] ~ /"gflops":/) work[operations] = value(line[k], "gflops")
        if (operations && line[k] ~ /"gbytes":/) traffic[operations] = value(line[k], "gbytes")
        if (operations && line[k] ~ /"share_of_roof":/) share[operations] = value(line[k], "share_of_roof")
        if (operations && line[k] ~ /"seconds_per_step":/) total[operations] = value(line[k], "seconds_per_step")
      }
      if (found) {
        printf "\n## %s: stages, ms a step\n\n| stage | measured | practical | gap |\n|---|---|---|---|\n", sizes[i]
        for (k = 1; k <= found; ++k) order[k] = k
        for (k = 2; k <= found; ++k) for (j = k; j > 1 && gap(order[j - 1]) < gap(order[j]); --j) { t = order[j]; order[j] = order[j - 1]; order[j - 1] = t }
        for (k = 1; k <= found; ++k) if (measured[order[k]] + floor[order[k]] > 0) printf "| %s | %.1f | %.1f | %.1f |\n", stage[order[k]], measured[order[k]], floor[order[k]], gap(order[k])
      }
      if (operations) {
        printf "\n## %s: ops\n\n| op | ms | TFLOP/s | GB/s | of its roof | ms a step |\n|---|---|---|---|---|---|\n", sizes[i]
        for (k = 1; k <= operations; ++k)
          printf "| %s | %.3f | %.1f | %.0f | %s | %.2f |\n", op[k], 1e3 * each[k], work[k] / 1e3, traffic[k], percent(share[k]), 1e3 * total[k]
      }
    }
  }
  function gap(k) { return measured[k] - floor[k] }
' "${records[@]}"
