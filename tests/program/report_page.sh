#!/usr/bin/env bash
# report_page.sh NLL: the page of `nll report` in a real browser, headless: no error on its console, every chart drawn by
# the script, axes switched, values under the arrow keys and the pointer, no scrolling sideways on a phone, a picture and
# a print that are not blank. Exit code 77 (skipped): no Chromium (scripts/setup.sh page).
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "skipped: no Chromium here (scripts/setup.sh page installs it); the page was not rendered"
  exit 77
}
. "$(dirname "$0")/setup_corpus.sh"
fail() { echo "FAILED: $*"; exit 1; }
"$NLL" train tiny.json --steps 20 2> /dev/null
"$NLL" train tiny.json --resume auto 2> /dev/null
"$NLL" train tiny.json --set run.directory=other --set optimizer.learning_rate=1e-3 2> /dev/null
# A sample may hold anything.
printf '{"event": "sample", "step": 40, "tokens": 10240, "text": "</pre></script><script>console.error(1)</script><img src=x onerror=console.error(2)> \\u0000 \\u001b[31m"}\n' >> run/metrics.jsonl
"$NLL" report run other --output page.html > /dev/null || fail "report"

browse() {  # width, height, arguments: runs the browser; what its console says goes to console.log
  local size="$1,$2"
  shift 2
  XDG_CONFIG_HOME=$WORK/browser XDG_CACHE_HOME=$WORK/browser timeout 120 "$browser" --headless --no-sandbox --disable-gpu \
    --disable-dev-shm-usage --disable-background-networking --hide-scrollbars --no-first-run --user-data-dir="$WORK/browser" \
    --window-size="$size" --enable-logging=stderr --virtual-time-budget=4000 "$@" 2> browser.log || fail "$browser ended with $?: $(tail -n 3 browser.log)"
  if grep -i 'CONSOLE' browser.log; then fail "the page wrote to the console"; fi
}

# Uses the page as a reader would and tells the page around it what it found: windows may not be as narrow as a
# phone, frames may.
cat > probe.js <<'JS'
addEventListener("load", () => setTimeout(() => {
  const found = [];
  const check = (good, what) => good || found.push(what);
  const charts = [...document.querySelectorAll(".charts .chart")].filter((chart) => !chart.closest("details"));
  const drawn = () => charts.every((chart) => chart.querySelector(".plot .curve") && chart.querySelectorAll(".plot text").length > 5);
  const ticks = () => [...charts[0].querySelectorAll(".plot text")].map((text) => text.textContent).join(" ");
  check(charts.length > 5, "few charts: " + charts.length);
  check(drawn(), "a chart is not drawn");
  check(document.documentElement.className === "scripted", "the script did not run");
  check(document.documentElement.scrollWidth <= innerWidth, "scrolls sideways: " + document.documentElement.scrollWidth + " of " + innerWidth);
  check(document.images.length === 0 && document.scripts.length === 3, "a sample became markup");
  let before = ticks();
  for (const choice of ["[data-axis=tokens]", "[data-axis=seconds]", "[data-scale=log]"]) {
    document.querySelector(choice).click();
    check(drawn(), "a chart is not drawn after " + choice);
    check(ticks() !== before, "the axis is the same after " + choice);
    check(!/NaN|Infinity|undefined/.test(document.querySelector(".charts").innerHTML), "no number after " + choice);
    before = ticks();
  }
  const picture = charts[0].querySelector(".plot").innerHTML;
  charts[0].querySelector(".head button").click();
  check(drawn() && charts[0].querySelector(".plot").innerHTML.replace(/clip\d+/g, "") !== picture.replace(/clip\d+/g, ""), "log y did nothing");
  document.querySelector("[data-axis=step]").click();
  const readout = () => charts[0].querySelector(".readout").textContent;
  const svg = charts[0].querySelector(".plot svg");
  svg.focus();
  svg.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
  check(/^step 40 /.test(readout()), "the arrow keys say: " + readout());
  svg.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  check(/^step 39 /.test(readout()), "the arrow keys say: " + readout());
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 50, pointerType: "touch" }));
  check(/^step \d+ /.test(readout()) && !/^step 39 /.test(readout()), "the pointer says: " + readout());
  svg.dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
  check(drawn() && document.getElementById("whole").checkVisibility(), "plus does not zoom");
  const zoomed = ticks();
  document.getElementById("whole").click();
  check(drawn() && ticks() !== zoomed && !document.getElementById("whole").checkVisibility(), "the whole axis does not come back");
  document.querySelector("[data-run='1']").click();
  check(charts[0].querySelectorAll(".legend li:not([hidden])").length === 2, "a run cannot be hidden");
  const bin = document.querySelector(".bin");
  bin.focus();
  check(/accuracy/.test(bin.closest("figure").querySelector(".readout").textContent), "a bin says nothing");
  parent.postMessage("width " + innerWidth + ": " + (found.join("; ") || "sound"), "*");
}, 300));
JS
{ sed '/^<\/body>$/,$d' page.html; echo '<script>'; cat probe.js; echo '</script></body></html>'; } > probe.html
for width in 390 1200; do
  cat > frame.html << HTML
<!DOCTYPE html><title>frame</title><body style="margin:0"><p id="probe"></p>
<script>addEventListener("message", (event) => (document.getElementById("probe").textContent = event.data));</script>
<iframe src="probe.html" width="$width" height="900" style="border:0"></iframe></body>
HTML
  browse 1300 1000 --dump-dom "file://$WORK/frame.html" > dom.html
  said=$(grep -o 'id="probe">[^<]*' dom.html | sed 's/.*>//')
  [[ $said == "width $width: sound" ]] || fail "page $width pixels wide: ${said:-the probe did not end}"
  echo "$said"
done

# Pictures: many times what the same size of nothing takes.
echo '<!DOCTYPE html><title>nothing</title>' > blank.html
browse 1280 1600 --screenshot=blank.png "file://$WORK/blank.html" > /dev/null
browse 1280 1600 --screenshot=page.png "file://$WORK/page.html" > /dev/null
sed '/^<script>$/,/^<\/script>$/d' page.html > still.html  # as a reader without a script has it
browse 1280 1600 --screenshot=still.png "file://$WORK/still.html" > /dev/null
browse 1280 1600 --no-pdf-header-footer --print-to-pdf=page.pdf "file://$WORK/page.html" > /dev/null
blank=$(wc -c < blank.png)
for picture in page.png still.png page.pdf; do
  [ "$(wc -c < $picture)" -gt $((8 * blank)) ] || fail "$picture has $(wc -c < $picture) bytes, a blank page $blank"
done
if cmp -s page.png still.png; then fail "the script draws nothing"; fi
echo "report page: probed at two widths, pictures with and without script and a print are not blank"
