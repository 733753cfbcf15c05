#!/usr/bin/env python3
"""Asks Tidemark and a real Prometheus 3 the same queries over the same data and compares their answers.

    TIDEMARK=build/release/bin/tidemark PYTHONPATH=tests/support tests/conformance/differential.py --count 5000

The fixed list (catalogue.py) is asked as instant and as range queries, then --count random ones. The seed is printed first.
A mismatch prints the query, its parameters and both answers; all of them go to --failures as JSON lines, which --replay asks
again. Exits 0 when nothing differs but what known.py explains, 3 when there is no Prometheus to compare with.
"""
import argparse
import collections
import contextlib
import http.client
import json
import random
import sys
import time
import urllib.parse

import catalogue
import known
import native
from compare import Comparison, Difference
from dataset import END_MS, START_MS, Dataset
from grammar import MATRIX_FUNCTIONS, Grammar
from oracle import UNAVAILABLE, Prometheus, Unavailable, binary
from tidemark import Tidemark

SHOWN_PER_CLASS = 3
ASKED_AGAIN = 3


class Api:
    """Queries over one kept connection."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def ask(self, params):
        path = "/api/v1/query_range" if "step" in params else "/api/v1/query"
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self.connection.request("POST", path, urllib.parse.urlencode(params),
                                    {"Content-Type": "application/x-www-form-urlencoded"})
            reply = self.connection.getresponse()
            return json.loads(reply.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def close(self):
        if self.connection:
            self.connection.close()


def takes_native_histograms(tide):
    return tide.write(native.series({"__name__": "probe"}, [], [(START_MS, native.NativeHistogram(0))]), tenant="probe").status == 204


def load(bodies, tide, prometheus):
    for body in bodies:
        reply = tide.write(body)
        if reply.status // 100 != 2:
            raise RuntimeError("Tidemark refuses the data: %r" % reply)
        status, text = prometheus.write(body)
        if status // 100 != 2:
            raise RuntimeError("Prometheus refuses the data: %d %r" % (status, text[:300]))


def probe(oracle):
    """What this Prometheus does not know: names of functions, and forms."""
    forms = {name: "%s(bare[5m])" % name for name in MATRIX_FUNCTIONS}
    forms.update({
        "double_exponential_smoothing": "double_exponential_smoothing(bare[5m], 0.5, 0.5)",
        "sort_by_label": 'sort_by_label(bare, "a")',
        "duration_arithmetic": "sum_over_time(bare[1m * 2 + 1m])",
        "duration_functions": "sum_over_time(bare[step() + 1m])"})
    return sorted(name for name, query in forms.items()
                  if oracle.ask({"query": query, "time": str(START_MS // 1000)})["status"] == "error")


def fixed(seed, histograms):
    """The catalogue, at times of the seed's choosing."""
    rng = random.Random(seed)
    for query in catalogue.queries() + (catalogue.native_queries() if histograms else []):
        at = START_MS + rng.randrange(3600, 7000) * 1000
        yield {"query": query, "time": "%.3f" % (at / 1000)}
        yield {"query": query, "start": "%.3f" % (at / 1000 - 900), "end": "%.3f" % (at / 1000), "step": rng.choice(("15", "60", "37.5"))}


def generated(seed, count, families, unsupported):
    grammar = Grammar(seed, families, unsupported)
    for n in range(count):
        yield grammar.range() if n % 2 else grammar.instant()


class Run:
    def __init__(self, out=sys.stdout, failures=None, nearly=None):
        self.out, self.failures, self.nearly = out, failures, nearly
        self.counts = collections.Counter()
        self.classes = collections.Counter()
        self.explained = collections.Counter()

    @staticmethod
    def answer(api, params):
        try:
            return api.ask(params)
        except (OSError, http.client.HTTPException, ValueError) as err:
            return {"status": "error", "errorType": "no answer", "error": repr(err)}

    def one(self, ours, theirs, params):
        self.counts["queries"] += 1
        answers = [self.answer(ours, params), self.answer(theirs, params)]
        comparison = Comparison(params["query"], *answers)
        try:
            comparison.run()
        except Difference as difference:
            reason = known.reason(params, *answers, difference) or self.unsteady(ours, theirs, params, answers)
            if reason:
                self.explained[reason] += 1
                self.counts["explained"] += 1
            else:
                self.differs(params, answers, difference)
            return
        self.counts["equal"] += 1
        self.counts["bit-equal"] += comparison.exact == 2
        self.counts["both fail"] += answers[0]["status"] == "error"
        self.counts["empty"] += answers[0]["status"] == "success" and answers[0]["data"]["result"] == []
        self.counts["values"] += comparison.values
        self.counts["values bit-equal"] += comparison.values_exact
        self.counts["same words"] += comparison.same_texts
        if self.nearly and not (comparison.same_texts and comparison.exact == 2):
            self.nearly.write(json.dumps({"params": params, "ours": answers[0], "theirs": answers[1]}, ensure_ascii=False) + "\n")

    def unsteady(self, ours, theirs, params, answers):
        """Prometheus reuses memory of native histograms too early now and then: asked again it says what we say."""
        if self.answer(ours, params) != answers[0]:
            return None
        for _ in range(ASKED_AGAIN):
            again = self.answer(theirs, params)
            try:
                Comparison(params["query"], answers[0], again).run()
            except Difference:
                continue
            return "Prometheus does not answer the same twice"
        return None

    def differs(self, params, answers, difference):
        self.counts["different"] += 1
        self.classes[difference.kind] += 1
        if self.failures:
            self.failures.write(json.dumps({"params": params, "difference": str(difference)}, ensure_ascii=False) + "\n")
        if self.classes[difference.kind] <= SHOWN_PER_CLASS:
            print("\nDIFFERENCE %s\n  params     %s\n  Tidemark   %s\n  Prometheus %s" % (
                difference, json.dumps(params, ensure_ascii=False), *(json.dumps(a, ensure_ascii=False)[:600] for a in answers)),
                file=self.out)

    def report(self, seconds):
        c = self.counts
        print("\n%d queries in %.0f s: %d equal (%d of them to the bit, %d errors on both sides, %d empty), %d explained, %d different"
              % (c["queries"], seconds, c["equal"], c["bit-equal"], c["both fail"], c["empty"], c["explained"], c["different"]),
              file=self.out)
        print("%d values, %d of them bit-equal; messages in the same words in %d of the equal answers"
              % (c["values"], c["values bit-equal"], c["same words"]), file=self.out)
        for title, counter in (("explained", self.explained), ("different", self.classes)):
            for what, count in counter.most_common():
                print("  %-9s %5d  %s" % (title, count, what), file=self.out)


def differential(seed, count, failures_path=None, replay=None, fixed_list=True, nearly_path=None, out=sys.stdout):
    """Runs everything; answers the Run. Raises Unavailable."""
    print("seed %d" % seed, file=out, flush=True)
    started = time.monotonic()
    with contextlib.ExitStack() as files:
        failures, nearly = (files.enter_context(open(path, "w", encoding="utf-8")) if path else None
                            for path in (failures_path, nearly_path))
        run = Run(out, failures, nearly)
        ask_all(run, seed, count, replay, fixed_list)
    run.report(time.monotonic() - started)
    return run


def ask_all(run, seed, count, replay, fixed_list):
    with Tidemark() as tide, Prometheus(binary()) as prometheus:
        dataset = Dataset(seed)
        load(dataset.bodies(), tide, prometheus)
        print("%d series, %d samples, from %d to %d" % (len(dataset.series), dataset.sample_count(), START_MS, END_MS), file=run.out)
        histograms = takes_native_histograms(tide)
        if histograms:
            data = native.NativeData(dataset)
            load(data.bodies(), tide, prometheus)
            print("and %d samples of native histograms" % data.sample_count(), file=run.out)
        else:
            print("this Tidemark takes no native histograms: left out", file=run.out)
        ours, theirs = Api(tide.port), Api(prometheus.port)
        unsupported = probe(theirs)
        print("not in this Prometheus: " + (", ".join(unsupported) or "nothing"), file=run.out, flush=True)
        if replay:
            with open(replay, encoding="utf-8") as f:
                asked = [json.loads(line)["params"] for line in f]
        else:
            asked = fixed(seed, histograms) if fixed_list else ()
        for params in asked:
            run.one(ours, theirs, params)
        if not replay:
            for params in generated(seed, count, dataset.families, unsupported):
                run.one(ours, theirs, params)
        ours.close()
        theirs.close()
        if tide.process.poll() is not None:
            raise RuntimeError("tidemark ended:\n" + tide.log())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock")
    parser.add_argument("--count", type=int, default=5000, help="random queries, half of them range queries")
    parser.add_argument("--no-fixed", action="store_true", help="random queries only")
    parser.add_argument("--failures", default="differences.tmp", help="where differing queries are written")
    parser.add_argument("--nearly", help="write equal answers that differ in bits or words to this file")
    parser.add_argument("--replay", help="ask the queries of such a file again, and nothing else")
    a = parser.parse_args()
    seed = a.seed if a.seed is not None else int(time.time())
    try:
        run = differential(seed, a.count, a.failures, a.replay, not a.no_fixed, a.nearly)
    except Unavailable as err:
        print(err, file=sys.stderr)
        return UNAVAILABLE
    return 1 if run.counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
