#!/usr/bin/env python3
"""Asks Tidemark and the Prometheus that writes to it the same queries, shows both answers side by side and compares them.

Exits 0 only if every answer agrees: the same series, and values within a relative 1e-9. Waits until samples flow first.
"""
import argparse
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# The panels of a service dashboard, on what the three scraped programs tell about themselves.
PANELS = [
    ("targets up", "up"),
    ("request rate", "sum by (job, handler) (rate(prometheus_http_requests_total[20s]))"),
    ("error ratio", 'sum by (job) (rate(prometheus_http_requests_total{code!~"2.."}[20s]))'
                    " / sum by (job) (rate(prometheus_http_requests_total[20s]))"),
    ("p99 latency", "histogram_quantile(0.99, sum by (job, le)"
                    " (rate(prometheus_http_request_duration_seconds_bucket[20s])))"),
    ("CPU by mode", "sum by (mode) (rate(node_cpu_seconds_total[20s]))"),
]
JOBS = {"prometheus", "node", "tidemark"}
# Samples of this long ago have surely been sent: the queue's deadline is one second.
SETTLE_SECONDS = 5


def ask(base, query, at):
    url = base + "/api/v1/query?" + urllib.parse.urlencode({"query": query, "time": "%.3f" % at})
    with urllib.request.urlopen(url, timeout=10) as reply:
        result = json.load(reply)["data"]["result"]
    return {json.dumps(series["metric"], sort_keys=True): float(series["value"][1]) for series in result}


def same(a, b):
    return a.keys() == b.keys() and all(
        (math.isnan(a[k]) and math.isnan(b[k])) or math.isclose(a[k], b[k], rel_tol=1e-9, abs_tol=1e-15) for k in a)


def cause_an_error(prometheus):
    """A query that Prometheus refuses: without any, the dashboard's error ratio would be empty."""
    try:
        ask(prometheus, "(", time.time())
    except urllib.error.HTTPError:
        pass


def wait_for_samples(tidemark, prometheus, seconds):
    """Until both have had all three targets for longer than the longest window. Prometheus sends nothing of its very first
    seconds, so a window that reached back to them would not be the same for both."""
    deadline = time.monotonic() + seconds
    reason = "nothing was tried"
    while time.monotonic() < deadline:
        try:
            at = time.time() - SETTLE_SECONDS
            cause_an_error(prometheus)
            for base in (prometheus, tidemark):
                found = ask(base, "count_over_time(up[30s]) >= 25", at)
                if {json.loads(k)["job"] for k in found} != JOBS:
                    reason = "%s has no steady samples of %s yet" % (
                        base, ", ".join(sorted(JOBS - {json.loads(k)["job"] for k in found})))
                    break
            else:
                return
        except (OSError, ValueError, KeyError) as err:
            reason = str(err)
        time.sleep(0.5)
    sys.exit("compare_answers: gave up after %d s: %s" % (seconds, reason))


def compare(tidemark, prometheus, at):
    return [(title, query, ask(tidemark, query, at), ask(prometheus, query, at)) for title, query in PANELS]


def show(answers):
    for title, query, ours, theirs in answers:
        print("\n%s\n  %s\n  %-72s %20s %20s" % (title, query, "", "Tidemark", "Prometheus"))
        for key in sorted(ours.keys() | theirs.keys()):
            labels = ", ".join("%s=%s" % pair for pair in sorted(json.loads(key).items()))
            print("  %-72s %20s %20s" % (labels[:72] or "(all)", ours.get(key, "-"), theirs.get(key, "-")))
        print("  %s" % ("same" if same(ours, theirs) else "DIFFERENT"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tidemark", required=True)
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--wait", type=int, default=120, help="seconds to wait for samples (default: %(default)s)")
    args = parser.parse_args()

    print("== Waiting until samples of all three targets flow through Prometheus into Tidemark")
    sys.stdout.flush()
    wait_for_samples(args.tidemark, args.prometheus, args.wait)
    # A moment on which no sample stands exactly at a window's left edge: Prometheus 2 counts that one in, Prometheus 3 and
    # Tidemark do not. A second try at another moment tells such a coincidence from a real difference.
    for attempt in range(3):
        answers = compare(args.tidemark, args.prometheus, time.time() - SETTLE_SECONDS + attempt * 0.0137)
        good = all(same(ours, theirs) and ours for _, _, ours, theirs in answers)
        if good:
            break
        time.sleep(1)
    show(answers)
    empty = [title for title, _, ours, _ in answers if not ours]
    if empty:
        print("\nno answer at all for: %s" % ", ".join(empty))
    print("\n== %s" % ("All answers agree" if good else "The answers do not agree"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
