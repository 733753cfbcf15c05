"use strict";
/* The parts of the page that need no document: node test_promql.js */
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const promql = require("../files/promql.js");

function at(text) {
  const cursor = text.indexOf("|");
  const found = promql.completionAt(text.replace("|", ""), cursor);
  return found === null ? null : [found.kind, found.word, found.label, found.metric].filter((x) => x !== undefined).join(" ");
}

const tests = {
  completion_tells_where_the_cursor_stands() {
    assert.strictEqual(at("ra|"), "metric ra");
    assert.strictEqual(at("|"), "metric ");
    assert.strictEqual(at("sum(rate(http_re|"), "metric http_re");
    assert.strictEqual(at("up{jo|}"), "label jo");
    assert.strictEqual(at("up{job=\"a\", inst|"), "label inst");
    assert.strictEqual(at("up{job=\"a|\"}"), "value a job up");
    assert.strictEqual(at("{job=~'a|"), "value a job ");
    assert.strictEqual(at("sum by (jo|"), "label jo");
    assert.strictEqual(at("sum by (job) (u|"), "metric u");
    assert.strictEqual(at("a * on(x) group_left(|"), "label ");
    assert.strictEqual(at("a # no|"), null);
    assert.strictEqual(at("\"strin|"), null);
    assert.strictEqual(at("up[5m|"), null);
    assert.strictEqual(at("label_replace(up, \"a\\\"b\", x|"), "metric x");
  },

  matching_puts_prefixes_first() {
    assert.deepStrictEqual(promql.matching(["node_up", "up", "upper", "x"], "UP", 10), ["up", "upper", "node_up"]);
    assert.deepStrictEqual(promql.matching(["a", "b", "c"], "", 2), ["a", "b"]);
  },

  functions_are_those_of_the_parser() {
    const table = fs.readFileSync(path.join(__dirname, "../../libcommon/promql/include/tide/promql/fntable.h"), "utf8");
    const names = [...table.matchAll(/X\([A-Z0-9_]+, (\w+),/g)].map((found) => found[1]);
    assert.ok(names.length > 80);
    assert.deepStrictEqual([...promql.FUNCTIONS].sort(), names.sort());
  },

  errors_are_placed_by_bytes() {
    const place = promql.errorPlace("invalid parameter \"query\": 2:6: parse error: unexpected");
    assert.deepStrictEqual(place, { line: 2, column: 6 });
    assert.deepStrictEqual(promql.lineAt("a +\n\"é\" b", place), { line: "\"é\" b", before: "\"é\" " });
    assert.strictEqual(promql.errorPlace("query timed out"), null);
    assert.strictEqual(promql.lineAt("a", { line: 3, column: 1 }), null);
  },

  durations_read_and_print() {
    assert.strictEqual(promql.durationSeconds("1h30m"), 5400);
    assert.strictEqual(promql.durationSeconds(" 300 "), 300);
    assert.strictEqual(promql.durationSeconds("1500ms"), 1.5);
    for (const bad of ["", "1x", "m", "1m1h", "-5m"]) assert.ok(Number.isNaN(promql.durationSeconds(bad)), bad);
    assert.strictEqual(promql.durationText(5400), "1h30m");
    assert.strictEqual(promql.durationText(0.2), "0s");
  },

  ranges_step_along() {
    assert.strictEqual(promql.nextRange("1h", true), "2h");
    assert.strictEqual(promql.nextRange("1h", false), "30m");
    assert.strictEqual(promql.nextRange("45m", true), "1h");
    assert.strictEqual(promql.nextRange("365d", true), "365d");
    assert.strictEqual(promql.nextRange("1m", false), "1m");
    assert.strictEqual(promql.autoStep(3600), 14);
    assert.strictEqual(promql.autoStep(10), 1);
  },

  series_print_like_selectors() {
    assert.strictEqual(promql.seriesText({ __name__: "up", job: "a\"b" }), "up{job=\"a\\\"b\"}");
    assert.strictEqual(promql.seriesText({ __name__: "up" }), "up");
    assert.strictEqual(promql.seriesText({}), "{}");
    assert.strictEqual(promql.seriesText({ "a.b": "c" }), "{\"a.b\"=\"c\"}");
  },

  columns_lie_on_the_steps() {
    const series = [{ values: [[100, "1"], [115, "NaN"], [130.0004, "3"]] }, { values: [[115, "5"], [200, "6"]] }, {}];
    assert.deepStrictEqual(promql.chartColumns(series, 100, 130, 15),
      [[100, 115, 130], [1, null, 3], [null, 5, null], [null, null, null]]);
  },

  axis_numbers_are_short() {
    assert.deepStrictEqual([0, 12, 0.5, 1500, 2.5e6, -3e9, 1e-7, 1e18].map(promql.axisText),
      ["0", "12", "0.5", "1.5k", "2.5M", "-3G", "1e-7", "1e+18"]);
  },
};

let failures = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    test();
  } catch (error) {
    failures++;
    console.error(`${name}: ${error.message}`);
  }
}
console.log(`${Object.keys(tests).length} tests, ${failures} failures`);
process.exit(failures > 0 ? 1 : 0);
