"use strict";
/* The page: a query, its answer as a table or a graph. All state is in the address, so that it can be sent on. */
(() => {
  const $ = (id) => document.getElementById(id);
  const SERIES_SHOWN_MAX = 200; /* More lines are not told apart, and slow the browser. */
  const ROWS_SHOWN_MAX = 2000;
  const COMPLETIONS_MAX = 50;
  const NAMES_KEPT_MS = 60000;
  const COLORS = ["#1f77b4", "#e6750a", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#a8a800", "#17becf",
    "#5566dd", "#00966b"];

  let tab = "table";
  let running = null; /* The AbortController of the query under way. */
  let chart = null;
  let shown = null; /* The answer of the graph, for drawing it again. */

  /* ---- Talking to the server ---- */

  async function call(path, parameters, signal) {
    const headers = {};
    if ($("tenant").value.trim() !== "") headers["X-Scope-OrgID"] = $("tenant").value.trim();
    const options = { headers, signal };
    if (parameters !== null) {
      options.method = "POST";
      options.body = new URLSearchParams(parameters);
    }
    const response = await fetch("api/v1/" + path, options);
    let answer;
    try {
      answer = await response.json();
    } catch {
      throw new Error(`the server answered ${response.status} ${response.statusText}`);
    }
    if (answer.status !== "success") throw new Error(answer.error || `the server answered ${response.status}`);
    return answer;
  }

  /* ---- The address ---- */

  function readAddress() {
    const state = new URLSearchParams(location.hash.slice(1));
    $("query").value = state.get("q") || "";
    $("end").value = state.get("end") || "";
    $("range").value = state.get("range") || "1h";
    $("step").value = state.get("step") || "";
    $("tenant").value = state.get("tenant") || "";
    showTab(state.get("tab") === "graph" ? "graph" : "table");
  }

  function writeAddress() {
    const state = new URLSearchParams();
    state.set("q", $("query").value);
    state.set("tab", tab);
    for (const id of ["end", "range", "step", "tenant"]) {
      if ($(id).value !== "" && !(id === "range" && $(id).value === "1h")) state.set(id, $(id).value);
    }
    const hash = "#" + state.toString();
    if (hash !== location.hash) history.pushState(null, "", hash);
  }

  /* ---- Running ---- */

  function endSeconds() {
    const chosen = new Date($("end").value).getTime();
    return Number.isFinite(chosen) ? chosen / 1000 : Date.now() / 1000;
  }

  /* A time for the input, in the browser's own zone. */
  function inputTime(seconds) {
    const date = new Date(seconds * 1000);
    const local = new Date(date.getTime() - date.getTimezoneOffset() * 60000);
    return local.toISOString().slice(0, 19);
  }

  async function run() {
    const query = $("query").value;
    closeCompletions();
    if (query.trim() === "") return;
    writeAddress();
    if (running !== null) running.abort();
    const mine = new AbortController();
    running = mine;
    $("state").textContent = "running…";
    const begun = performance.now();
    try {
      const end = endSeconds();
      let answer;
      if (tab === "graph") {
        const range = promql.durationSeconds($("range").value);
        const chosen = promql.durationSeconds($("step").value);
        if (!(range > 0)) throw new Error(`the range "${$("range").value}" is no duration`);
        if ($("step").value.trim() !== "" && !(chosen > 0)) throw new Error(`the step "${$("step").value}" is no duration`);
        const step = chosen > 0 ? chosen : promql.autoStep(range);
        answer = await call("query_range", { query, start: end - range, end, step }, mine.signal);
        clearAnswer();
        showGraph(answer.data.result, end - range, end, step);
      } else {
        answer = await call("query", { query, time: end }, mine.signal);
        clearAnswer();
        showTable(answer.data);
      }
      showNotes([...(answer.warnings || []), ...(answer.infos || [])]);
      const count = Array.isArray(answer.data.result) && answer.data.resultType !== "scalar" &&
        answer.data.resultType !== "string" ? answer.data.result.length : 1;
      $("state").textContent = `${count} series, ${Math.round(performance.now() - begun)} ms`;
    } catch (error) {
      if (error.name === "AbortError") return;
      clearAnswer();
      $("state").textContent = "";
      showError(error.message, query);
    } finally {
      if (running === mine) running = null;
    }
  }

  async function format() {
    const query = $("query").value;
    try {
      $("query").value = (await call("format_query", { query })).data;
      $("error").hidden = true;
    } catch (error) {
      showError(error.message, query);
    }
  }

  /* ---- Showing ---- */

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className !== undefined) made.className = className;
    return made;
  }

  function clearAnswer() {
    if (chart !== null) chart.destroy();
    chart = null;
    shown = null;
    for (const id of ["error", "notes", "chart", "legend"]) $(id).hidden = true;
    for (const id of ["error", "notes", "chart", "legend", "table"]) $(id).replaceChildren();
  }

  function showError(message, query) {
    const place = promql.errorPlace(message);
    const at = place === null ? null : promql.lineAt(query, place);
    const box = $("error");
    box.replaceChildren(element("div", message));
    if (at !== null) {
      box.append(element("pre", `${at.line}\n${at.before.replace(/[^\t]/g, " ")}^`));
      const offset = query.split("\n").slice(0, place.line - 1).join("\n").length + (place.line > 1 ? 1 : 0) + at.before.length;
      if (document.activeElement === $("query")) $("query").setSelectionRange(offset, offset);
    }
    box.hidden = false;
  }

  function showNotes(notes) {
    $("notes").replaceChildren(...notes.map((note) => element("li", note)));
    $("notes").hidden = notes.length === 0;
  }

  function valueText(sample) {
    if (sample.value !== undefined) return sample.value[1];
    if (sample.histogram !== undefined) return histogramText(sample.histogram[1]);
    const points = (sample.values || []).map(([time, value]) => `${value} @${time}`);
    for (const [time, histogram] of sample.histograms || []) points.push(`${histogramText(histogram)} @${time}`);
    return points.join("\n");
  }

  function histogramText(histogram) {
    const buckets = (histogram.buckets || []).map(([kind, low, high, count]) =>
      `${kind === 1 || kind === 3 ? "[" : "("}${low}, ${high}${kind === 0 || kind === 3 ? "]" : ")"} ${count}`);
    return [`count ${histogram.count}, sum ${histogram.sum}`, ...buckets].join("\n");
  }

  function showTable(data) {
    if (data.resultType === "scalar" || data.resultType === "string") {
      $("table").append(element("table"));
      const row = $("table").firstChild.insertRow();
      row.append(element("td", data.resultType), element("td", data.result[1], "value"));
      return;
    }
    if (data.result.length === 0) {
      $("table").append(element("p", "Nothing matches at this time."));
      return;
    }
    const table = element("table");
    for (const sample of data.result.slice(0, ROWS_SHOWN_MAX)) {
      const row = table.insertRow();
      row.append(element("td", promql.seriesText(sample.metric)), element("td", valueText(sample), "value"));
    }
    $("table").append(table);
    if (data.result.length > ROWS_SHOWN_MAX)
      $("table").append(element("p", `The first ${ROWS_SHOWN_MAX} of ${data.result.length} series are shown.`));
  }

  function showGraph(result, start, end, step) {
    if (result.length === 0) {
      $("table").append(element("p", "Nothing matches in this range."));
      return;
    }
    shown = { result: result.slice(0, SERIES_SHOWN_MAX), start, end, step };
    drawChart();
    drawLegend();
    if (result.length > SERIES_SHOWN_MAX)
      $("table").append(element("p", `The first ${SERIES_SHOWN_MAX} of ${result.length} series are drawn.`));
  }

  function drawChart() {
    const style = getComputedStyle(document.body);
    const axis = { stroke: style.color, grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
    const width = Math.max(280, $("result").clientWidth);
    $("chart").hidden = false;
    chart = new uPlot({
      width,
      height: Math.max(240, Math.min(420, Math.round(width / 2))),
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, focus: { prox: 24 } },
      focus: { alpha: 0.25 },
      scales: { x: { min: shown.start, max: shown.end } },
      axes: [axis, { ...axis, size: 64, values: (self, ticks) => ticks.map(promql.axisText) }],
      series: [{}, ...shown.result.map((one, i) => ({
        label: promql.seriesText(one.metric),
        stroke: COLORS[i % COLORS.length],
        width: 1.5,
        spanGaps: false,
        points: { show: (one.values || []).length < 2 ? true : undefined },
      }))],
      hooks: {
        setSelect: [(self) => {
          if (self.select.width > 4) zoom(self.posToVal(self.select.left, "x"),
            self.posToVal(self.select.left + self.select.width, "x"));
        }],
        setCursor: [tellValues],
      },
    }, promql.chartColumns(shown.result, shown.start, shown.end, shown.step), $("chart"));
  }

  /* The time under the cursor; the values go into the legend. */
  function tellValues(self) {
    const i = self.cursor.idx;
    if (shown === null) return;
    for (const [k, button] of [...$("legend").children].entries()) {
      const value = i === null || i === undefined ? null : self.data[k + 1][i];
      button.lastChild.textContent = value === null || value === undefined ? "" : ` = ${value}`;
    }
    $("chart").title = i === null || i === undefined ? "" : new Date(self.data[0][i] * 1000).toLocaleString();
  }

  function zoom(from, to) {
    $("end").value = inputTime(Math.ceil(to));
    $("range").value = promql.durationText(Math.max(10, to - from));
    run();
  }

  function drawLegend() {
    $("legend").replaceChildren(...shown.result.map((one, i) => {
      const button = element("button");
      const swatch = element("span", "", "swatch");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      swatch.style.background = COLORS[i % COLORS.length];
      button.append(swatch, element("span", promql.seriesText(one.metric)), element("span", ""));
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        chart.setSeries(i + 1, { show: on });
      });
      return button;
    }));
    $("legend").hidden = false;
  }

  /* ---- Tabs ---- */

  function showTab(name) {
    tab = name;
    document.body.className = name;
    for (const one of ["table", "graph"]) {
      const button = $("tab-" + one);
      button.setAttribute("aria-selected", String(one === name));
      button.tabIndex = one === name ? 0 : -1;
    }
    $("result").setAttribute("aria-labelledby", "tab-" + name);
  }

  /* ---- Completion ---- */

  const kept = new Map(); /* path -> {time, names}. */
  let choices = []; /* Elements of the list. */
  let chosen = -1;
  let place = null; /* What promql.completionAt() said. */

  async function names(path) {
    const key = $("tenant").value + " " + path;
    const known = kept.get(key);
    if (known !== undefined && Date.now() - known.time < NAMES_KEPT_MS) return known.names;
    const answer = await call(path, null);
    kept.set(key, { time: Date.now(), names: answer.data });
    return answer.data;
  }

  async function candidates(where) {
    if (where.kind === "label") return [await names("labels?limit=10000"), ""];
    if (where.kind === "value") {
      const match = where.metric === "" ? "" : "&" + new URLSearchParams({ "match[]": where.metric });
      return [await names(`label/${encodeURIComponent(where.label)}/values?limit=10000${match}`), ""];
    }
    return [await names("label/__name__/values?limit=50000"), "metric"];
  }

  async function complete() {
    const box = $("query");
    const where = promql.completionAt(box.value, box.selectionStart);
    if (where === null || box.selectionStart !== box.selectionEnd) {
      closeCompletions();
      return;
    }
    let found = [];
    let kind = "";
    try {
      [found, kind] = await candidates(where);
    } catch {
      /* The query will tell what is wrong. */
    }
    const now = promql.completionAt(box.value, box.selectionStart);
    if (now === null || now.from !== where.from || now.word !== where.word) return; /* Typed on meanwhile. */
    let items = promql.matching(found, where.word, COMPLETIONS_MAX).map((name) => [name, kind]);
    if (where.kind === "metric" && where.word !== "") {
      const known = [[promql.AGGREGATIONS, "aggregation"], [promql.FUNCTIONS, "function"], [promql.KEYWORDS, "keyword"]];
      items = known.flatMap(([list, what]) => list.filter((name) => name.startsWith(where.word.toLowerCase()))
        .map((name) => [name, what])).concat(items).slice(0, COMPLETIONS_MAX);
    }
    if (items.length === 0 || (items.length === 1 && items[0][0] === where.word)) closeCompletions();
    else openCompletions(where, items);
  }

  function openCompletions(where, items) {
    place = where;
    choices = items.map(([name, what], i) => {
      const item = element("li", name);
      item.id = "completion-" + i;
      item.setAttribute("role", "option");
      item.dataset.name = name;
      item.dataset.what = what;
      item.append(element("span", what));
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault(); /* The text keeps the focus. */
        accept(i);
      });
      return item;
    });
    $("completions").replaceChildren(...choices);
    $("completions").hidden = false;
    $("query").setAttribute("aria-expanded", "true");
    choose(-1);
  }

  function closeCompletions() {
    choices = [];
    chosen = -1;
    $("completions").hidden = true;
    $("query").setAttribute("aria-expanded", "false");
    $("query").removeAttribute("aria-activedescendant");
  }

  function choose(i) {
    chosen = i;
    choices.forEach((item, k) => item.setAttribute("aria-selected", String(k === i)));
    if (i >= 0) {
      choices[i].scrollIntoView({ block: "nearest" });
      $("query").setAttribute("aria-activedescendant", choices[i].id);
    } else {
      $("query").removeAttribute("aria-activedescendant");
    }
  }

  function accept(i) {
    const box = $("query");
    const { name, what } = choices[i].dataset;
    const quoted = place.kind === "value" ? name.replace(/[\\"]/g, "\\$&") : name;
    const call = what === "function" || what === "aggregation" ? "(" : "";
    const rest = box.value.slice(box.selectionEnd);
    const text = quoted + (call !== "" && rest.startsWith("(") ? "" : call);
    box.setRangeText(text, place.from, box.selectionEnd, "end");
    closeCompletions();
    box.focus();
  }

  function keyInQuery(event) {
    const open = choices.length > 0;
    if (event.isComposing) return;
    if (event.key === "Escape" && open) {
      closeCompletions();
    } else if (event.key === " " && event.ctrlKey) {
      complete();
    } else if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose((chosen + step + choices.length + (chosen < 0 && step < 0 ? 1 : 0)) % choices.length);
    } else if (open && ((event.key === "Enter" && chosen >= 0) || (event.key === "Tab" && !event.shiftKey))) {
      accept(Math.max(chosen, 0));
    } else if (event.key === "Enter" && !event.shiftKey) {
      run();
    } else if (event.key.toLowerCase() === "f" && event.ctrlKey && event.shiftKey) {
      format();
    } else {
      return;
    }
    event.preventDefault();
  }

  /* ---- Wiring ---- */

  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  $("query").addEventListener("keydown", keyInQuery);
  $("query").addEventListener("input", complete);
  $("query").addEventListener("blur", closeCompletions);
  $("format").addEventListener("click", format);
  $("now").addEventListener("click", () => {
    $("end").value = "";
    run();
  });
  for (const [id, longer] of [["range-less", false], ["range-more", true]]) {
    $(id).addEventListener("click", () => {
      $("range").value = promql.nextRange($("range").value, longer);
      run();
    });
  }
  for (const name of ["table", "graph"]) {
    $("tab-" + name).addEventListener("click", () => {
      showTab(name);
      clearAnswer();
      run();
    });
    $("tab-" + name).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = $(name === "table" ? "tab-graph" : "tab-table");
      other.focus();
      other.click();
    });
  }
  for (const id of ["end", "step", "range", "tenant"]) $(id).addEventListener("change", run);
  window.addEventListener("popstate", () => {
    readAddress();
    clearAnswer();
    run();
  });
  let resizing = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (chart === null) return;
      const width = Math.max(280, $("result").clientWidth);
      chart.setSize({ width, height: chart.height });
    }, 100);
  });

  call("status/buildinfo", null).then((answer) => {
    $("version").textContent = answer.data.version || "";
  }, () => {});
  readAddress();
  if ($("query").value !== "") run();
  else $("query").focus();
})();
