"use strict";
/* What the page knows about PromQL and its answers, without a document: so that it can be tested. */
const promql = (() => {
  /* The functions of libcommon/promql/include/tide/promql/fntable.h; a test compares them. */
  const FUNCTIONS = ("abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max " +
    "clamp_min cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv " +
    "double_exponential_smoothing end exp first_over_time floor histogram_avg histogram_count histogram_fraction " +
    "histogram_quantile histogram_quantiles histogram_stddev histogram_stdvar histogram_sum hour idelta increase info " +
    "integral irate label_join label_replace last_over_time ln log10 log2 mad_over_time max_of max_over_time min_of " +
    "min_over_time minute month pi predict_linear present_over_time quantile_over_time rad range rate resets round scalar " +
    "sgn sin sinh sort sort_by_label sort_by_label_desc sort_desc sqrt start stddev_over_time stdvar_over_time step " +
    "sum_over_time tan tanh time timestamp ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time " +
    "ts_of_min_over_time vector year").split(" ");
  const AGGREGATIONS = ("sum avg count min max group stddev stdvar topk bottomk quantile limitk limit_ratio " +
    "count_values").split(" ");
  const KEYWORDS = ("and or unless atan2 by without on ignoring group_left group_right fill fill_left fill_right bool offset " +
    "anchored smoothed").split(" ");

  /* ---- Where the cursor stands ---- */

  /* What can be completed at the cursor: {kind, from, word} with kind "metric", "label" or "value" (then label and
   * metric are set too), or null within a string, comment or number. from is where the word starts. */
  function completionAt(text, cursor) {
    let braces = -1; /* Where the open brace stands. */
    let grouping = false; /* In the parentheses after by, on and such. */
    let label = "";
    let words = [];
    for (let i = 0; i < cursor;) {
      const c = text[i];
      if (c === "#") {
        while (i < cursor && text[i] !== "\n") i++;
        if (i === cursor) return null;
      } else if (c === '"' || c === "'" || c === "`") {
        const from = ++i;
        while (i < cursor && text[i] !== c) i += text[i] === "\\" && c !== "`" ? 2 : 1;
        if (i >= cursor) {
          if (braces < 0 || label === "") return null;
          const metric = /([a-zA-Z_:][a-zA-Z0-9_:]*)\s*$/.exec(text.slice(0, braces));
          return { kind: "value", from, word: text.slice(from, cursor), label, metric: metric ? metric[1] : "" };
        }
        i++;
      } else if (/[a-zA-Z_:]/.test(c)) {
        const from = i;
        while (i < cursor && /[a-zA-Z0-9_:.]/.test(text[i])) i++;
        const word = text.slice(from, i);
        if (i === cursor) return { kind: braces >= 0 || grouping ? "label" : "metric", from, word };
        if (braces >= 0) label = word;
        words = [word.toLowerCase()];
      } else if (/[0-9]/.test(c)) {
        while (i < cursor && /[a-zA-Z0-9_.]/.test(text[i])) i++;
        if (i === cursor) return null;
        words = [];
      } else {
        if (c === "{") braces = i;
        if (c === "}") braces = -1;
        if (c === ",") label = "";
        if (c === "(") grouping = /^(by|without|on|ignoring|group_left|group_right)$/.test(words[0] || "");
        if (c === ")") grouping = false;
        if (!/\s/.test(c)) words = [];
        i++;
      }
    }
    return { kind: braces >= 0 || grouping ? "label" : "metric", from: cursor, word: "" };
  }

  /* At most limit of the names that hold the word, those that start with it first. */
  function matching(names, word, limit) {
    const wanted = word.toLowerCase();
    const first = [];
    const later = [];
    for (const name of names) {
      const at = name.toLowerCase().indexOf(wanted);
      if (at === 0) first.push(name);
      else if (at > 0) later.push(name);
    }
    return first.concat(later).slice(0, limit);
  }

  /* ---- Errors ---- */

  /* The place of "…3:14: parse error: …": {line, column} from 1, column in bytes; or null. */
  function errorPlace(message) {
    const found = /(?:^|\s)(\d+):(\d+): parse error/.exec(message);
    return found ? { line: Number(found[1]), column: Number(found[2]) } : null;
  }

  /* The line of the query and the characters before the place in it: columns count bytes. */
  function lineAt(query, place) {
    const line = query.split("\n")[place.line - 1];
    if (line === undefined) return null;
    const bytes = new TextEncoder().encode(line).slice(0, place.column - 1);
    return { line, before: new TextDecoder().decode(bytes) };
  }

  /* ---- Durations and times ---- */

  const UNITS = { y: 31536000, w: 604800, d: 86400, h: 3600, m: 60, s: 1, ms: 0.001 };

  /* Seconds of "1h30m" or "300"; NaN when it is neither. */
  function durationSeconds(text) {
    const trimmed = text.trim();
    if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
    if (!/^(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$/.test(trimmed) || trimmed === "") return NaN;
    let seconds = 0;
    for (const [, count, unit] of trimmed.matchAll(/(\d+)(ms|[ywdhms])/g)) seconds += Number(count) * UNITS[unit];
    return seconds;
  }

  function durationText(seconds) {
    let rest = Math.round(seconds);
    let text = "";
    for (const unit of ["d", "h", "m", "s"]) {
      const count = Math.floor(rest / UNITS[unit]);
      rest -= count * UNITS[unit];
      if (count > 0) text += count + unit;
    }
    return text || "0s";
  }

  const RANGES = ["1m", "5m", "15m", "30m", "1h", "2h", "6h", "12h", "1d", "2d", "7d", "14d", "28d", "56d", "112d", "365d"];

  /* The next range of the usual ones that is longer or shorter. */
  function nextRange(text, longer) {
    const now = durationSeconds(text);
    const seconds = RANGES.map(durationSeconds);
    let at = longer ? seconds.findIndex((s) => s > now) : seconds.findLastIndex((s) => s < now);
    if (at < 0) at = longer ? RANGES.length - 1 : 0;
    return RANGES[at];
  }

  /* About 250 steps, a whole number of seconds. */
  function autoStep(rangeSeconds) {
    return Math.max(1, Math.floor(rangeSeconds / 250));
  }

  /* ---- Answers ---- */

  /* name{a="b"} of a metric's labels. */
  function seriesText(metric) {
    const { __name__: name, ...labels } = metric;
    const pairs = Object.keys(labels).sort().map((label) =>
      `${/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) ? label : JSON.stringify(label)}=${JSON.stringify(labels[label])}`);
    return pairs.length > 0 || name === undefined ? `${name || ""}{${pairs.join(", ")}}` : name;
  }

  /* Columns for the chart from a matrix answer: the steps from start to end, then one column a series, null where a series
   * has no number. Histograms have no line. */
  function chartColumns(series, start, end, step) {
    const count = Math.floor((end - start) / step + 1e-6) + 1;
    const times = Array.from({ length: count }, (unused, i) => start + i * step);
    const columns = series.map((one) => {
      const column = new Array(count).fill(null);
      for (const [time, value] of one.values || []) {
        const i = Math.round((time - start) / step);
        const number = Number(value);
        if (i >= 0 && i < count && Number.isFinite(number)) column[i] = number;
      }
      return column;
    });
    return [times, ...columns];
  }

  /* Short form of a number for the axis. */
  function axisText(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e15) return value.toExponential(2).replace(/\.?0+e/, "e");
    for (const [unit, scale] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
      if (size >= scale) return String(Number((value / scale).toPrecision(6))) + unit;
    }
    return String(Number(value.toPrecision(6)));
  }

  return { FUNCTIONS, AGGREGATIONS, KEYWORDS, completionAt, matching, errorPlace, lineAt, durationSeconds, durationText,
    nextRange, autoStep, seriesText, chartColumns, axisText };
})();

if (typeof module !== "undefined") module.exports = promql;
