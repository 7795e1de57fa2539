# A line chart as one SVG file, light or dark as the reader has it.
#   awk -F'\t' -v title=T -v across=LABEL -v up=LABEL [-v log_x=1] [-v log_y=1] [-v zero=1] [-v diagonal=NAME] \
#     [-v loose=1] -f plot.awk points.tsv
# points.tsv: series, x, y and, if there are any, the ends of an interval of y. Series and their points are drawn in the
# order they come. zero: the upright axis holds 0; diagonal: a dashed line y = x called NAME; loose: no lines between points.
function xml(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/"/, "\\&quot;", s); return s }
function place_x(v) { return left + (right - left) * ((log_x ? log(v) : v) - x_low) / (x_high - x_low) }
function place_y(v) { return bottom - (bottom - top) * ((log_y ? log(v) : v) - y_low) / (y_high - y_low) }
function see_x(v) { v = log_x ? log(v) : v; if (!seen_x++) x_low = x_high = v; if (v < x_low) x_low = v; if (v > x_high) x_high = v }
function see_y(v) { v = log_y ? log(v) : v; if (!seen_y++) y_low = y_high = v; if (v < y_low) y_low = v; if (v > y_high) y_high = v }
# 1, 2 or 5 times a power of ten: about six of them in a span.
function pace(span,   unit, power) {
  power = 10 ^ int(log(span / 6) / log(10) - (span / 6 < 1))
  unit = span / 6 / power
  return power * (unit <= 1 ? 1 : unit <= 2 ? 2 : unit <= 5 ? 5 : 10)
}
# Fills tick[1..n]; returns n.
function ticks(low, high, logarithmic,   n, step, v, decade, i) {
  n = 0
  if (!logarithmic) {
    step = pace(high - low)
    for (v = step * int(low / step - (low < 0)); v <= high + step * 1e-6; v += step)
      if (v >= low - step * 1e-6) tick[++n] = (v < step * 1e-6 && v > -step * 1e-6) ? 0 : v
    return n
  }
  for (decade = -12; decade <= 18; decade++)
    for (i = 1; i <= 5; i++) {
      if ((high - low > 5 && i > 1) || i == 3 || i == 4) continue
      v = i * 10 ^ decade
      if (log(v) >= low - 1e-9 && log(v) <= high + 1e-9) tick[++n] = v
    }
  return n
}
function label(v) { return sprintf("%.6g", v) }
NF >= 3 && $3 != "-" && $3 != "" {
  if (!($1 in number)) { number[$1] = ++series; name[series] = $1 }
  s = number[$1]; n = ++count[s]
  x[s, n] = $2; y[s, n] = $3
  see_x($2 + 0); see_y($3 + 0)
  if (NF >= 5 && $4 != "-" && $5 != "-") { low[s, n] = $4; high[s, n] = $5; see_y($4 + 0); see_y($5 + 0) }
}
END {
  if (!seen_x) { print "plot: no points" > "/dev/stderr"; exit 1 }
  width = 760; tall = 420; left = 74; right = width - 190; top = 52; bottom = tall - 56
  if (zero && y_low > 0) y_low = 0
  if (zero && y_high < 0) y_high = 0
  if (x_high == x_low) { x_low -= 1; x_high += 1 }
  if (y_high == y_low) { y_low -= 1; y_high += 1 }
  room = (x_high - x_low) * 0.03; x_low -= room; x_high += room
  room = (y_high - y_low) * 0.05; y_high += room; if (!zero || y_low != 0) y_low -= room
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", width, tall, xml(title ", " up " over " across)
  print "<style>"
  print "text { font-family: system-ui, -apple-system, \"Segoe UI\", Roboto, \"Liberation Sans\", sans-serif; font-size: 13px; fill: #57606a }"
  print ".page { fill: #ffffff } .title { font-size: 17px; font-weight: 600; fill: #1f2328 } .grid { stroke: #d8dee4 } .ideal { stroke: #8c959f; stroke-dasharray: 6 5 }"
  print ".curve { fill: none; stroke-width: 1.8 } .interval { fill: none; stroke-width: 1.2 }"
  split("#0072b2 #c9510c #00805f #b3508b #9a6700 #2f87bd #59636e", light, " ")
  split("#58a6ff #ff8f4a #3fc59a #e592c1 #e3b341 #9ad7ff #b7bdc8", dark, " ")
  for (i = 1; i <= 7; i++) printf ".l%d { stroke: %s } .f%d { fill: %s }\n", i - 1, light[i], i - 1, light[i]
  print "@media (prefers-color-scheme: dark) {\ntext { fill: #9198a1 } .page { fill: #0d1117 } .title { fill: #f0f6fc } .grid { stroke: #262c36 } .ideal { stroke: #656c76 }"
  for (i = 1; i <= 7; i++) printf ".l%d { stroke: %s } .f%d { fill: %s }\n", i - 1, dark[i], i - 1, dark[i]
  print "}\n</style>"
  printf "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n<text class=\"title\" x=\"%d\" y=\"28\">%s</text>\n", width, tall, left, xml(title)
  n = ticks(y_low, y_high, log_y)
  for (i = 1; i <= n; i++) {
    at = place_y(tick[i])
    printf "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", left, at, right, left - 8, at + 4, label(tick[i])
  }
  n = ticks(x_low, x_high, log_x)
  for (i = 1; i <= n; i++) {
    at = place_x(tick[i])
    printf "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", at, top, bottom, at, bottom + 18, label(tick[i])
  }
  printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (left + right) / 2, tall - 14, xml(across)
  printf "<text transform=\"translate(16 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (top + bottom) / 2, xml(up)
  if (diagonal != "") {
    from = x_low > y_low ? x_low : y_low; to = x_high < y_high ? x_high : y_high
    printf "<path class=\"ideal\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", place_x(from), place_y(from), place_x(to), place_y(to)
  }
  for (s = 1; s <= series; s++) {
    color = (s - 1) % 7
    path = ""
    for (i = 1; i <= count[s]; i++) path = path sprintf("%s%.1f %.1f", i == 1 ? "M" : "L", place_x(x[s, i]), place_y(y[s, i]))
    if (!loose) printf "<path class=\"curve l%d\" d=\"%s\"/>\n", color, path
    for (i = 1; i <= count[s]; i++) {
      at = place_x(x[s, i])
      said = name[s] ": " label(y[s, i]) " at " label(x[s, i])
      if ((s, i) in low) {
        said = said ", " label(low[s, i]) " to " label(high[s, i])
        printf "<path class=\"interval l%d\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh6M%.1f %.1fh6\"/>\n", color, at, place_y(low[s, i]), place_y(high[s, i]), at - 3, place_y(low[s, i]), at - 3, place_y(high[s, i])
      }
      printf "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>%s</title></circle>\n", color, at, place_y(y[s, i]), xml(said)
    }
    printf "<path class=\"curve l%d\" d=\"M%d %dh22\"/><text x=\"%d\" y=\"%d\">%s</text>\n", color, right + 14, top + 20 * s - 12, right + 42, top + 20 * s - 8, xml(name[s])
  }
  if (diagonal != "") {
    at = top + 20 * (series + 1)
    printf "<path class=\"ideal\" d=\"M%d %dh22\"/><text x=\"%d\" y=\"%d\">%s</text>\n", right + 14, at - 12, right + 42, at - 8, xml(diagonal)
  }
  print "</svg>"
}
