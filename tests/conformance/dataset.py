"""The series of the differential run, from a seed: everything that a store or an engine may get wrong.

A family is what the generator of queries chooses from: a metric name, the labels its series carry, and what kind it is
(counter, gauge, bucket, info), which decides the functions that are mostly asked of it.
"""
import math
import random

from tidemark import STALE_BITS, v1_series

START_MS = 1_600_000_000_000
SPAN_MS = 2 * 3600 * 1000
END_MS = START_MS + SPAN_MS
BOUNDS = ("0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "10", "+Inf")


class Family:
    def __init__(self, name, kind, labels, distinct=True):
        self.name, self.kind, self.labels = name, kind, labels
        # False: values repeat between series at the same time, so that an order by value is not decided by it.
        self.distinct = distinct


class Dataset:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.series = []  # (labels, [(ms, float or bits)])
        self.families = []
        for build in (self.counters, self.odd_counters, self.gauges, self.gaps, self.specials, self.extremes,
                      self.coming_and_going, self.histograms, self.unicode, self.bare, self.small_numbers,
                      self.infos):
            build()

    def add(self, labels, samples):
        self.series.append((labels, samples))

    def family(self, name, kind, labels, distinct=True):
        self.families.append(Family(name, kind, {k: list(v) for k, v in labels.items()}, distinct))

    def times(self, interval_ms, jitter_ms=0, begin=START_MS, end=END_MS):
        """Scrape times from a phase of their own, each off by up to jitter_ms."""
        at = begin + self.random.randrange(interval_ms)
        out = []
        while at <= end:
            out.append(at + (self.random.randrange(-jitter_ms, jitter_ms + 1) if jitter_ms else 0))
            at += interval_ms
        return out

    def counting(self, times, reset_chance=0.0, whole=True, rate=3.0):
        value, out = 0.0, []
        for at in times:
            if self.random.random() < reset_chance:
                value = 0.0
            value += self.random.randrange(int(rate * 5)) if whole else self.random.random() * rate
            out.append((at, value))
        return out

    def walking(self, times, level=50.0, step=5.0):
        value, out = level, []
        for at in times:
            value += self.random.uniform(-step, step)
            out.append((at, value))
        return out

    def counters(self):
        labels = {"job": ("api", "web"), "instance": ("a:1", "b:1", "c:1"), "code": ("200", "404", "500")}
        for job in labels["job"]:
            for instance in labels["instance"]:
                times = self.times(15000)  # One scrape: its series share their timestamps.
                for code in labels["code"]:
                    self.add({"__name__": "requests_total", "job": job, "instance": instance, "code": code},
                             self.counting(times, 0.01))
        self.family("requests_total", "counter", labels)

    def odd_counters(self):
        """Irregular times, several intervals, fractions, resets close to each other."""
        for i, interval in enumerate((1000, 7000, 15000, 61000, 240000, 301000)):
            self.add({"__name__": "work_seconds_total", "job": "odd", "i": str(i)},
                     self.counting(self.times(interval, interval // 3), 0.05, False))
        self.family("work_seconds_total", "counter", {"job": ("odd",), "i": "012345"})

    def gauges(self):
        labels = {"job": ("api", "web"), "instance": ("a:1", "b:1", "c:1"), "zone": ("eu", "us")}
        for job in labels["job"]:
            for n, instance in enumerate(labels["instance"]):
                self.add({"__name__": "temperature", "job": job, "instance": instance, "zone": labels["zone"][n % 2]},
                         self.walking(self.times(15000, 200)))
        self.family("temperature", "gauge", labels)

    def gaps(self):
        for i in range(4):
            samples = self.walking(self.times(30000), 0.0)
            at = START_MS
            while at < END_MS:
                begin = at + self.random.randrange(60000, 900000)
                at = begin + self.random.randrange(60000, 1200000)
                samples = [s for s in samples if not begin <= s[0] < at]
            self.add({"__name__": "patchy", "job": "gaps", "i": str(i)}, samples)
        self.family("patchy", "gauge", {"job": ("gaps",), "i": "0123"})

    def specials(self):
        choices = (math.nan, math.inf, -math.inf, -0.0, 0.0, 1.0, -1.0, 2.5)
        for i in range(4):
            self.add({"__name__": "special", "job": "odd", "i": str(i)},
                     [(at, self.random.choice(choices) if self.random.random() < (0.1, 0.3, 0.6, 1)[i] else value)
                      for at, value in self.walking(self.times(20000))])
        self.family("special", "gauge", {"job": ("odd",), "i": "0123"}, False)

    def extremes(self):
        for i, scale in enumerate((1e308, 5e-324, 1e15, 1e-300)):
            self.add({"__name__": "extreme", "i": str(i)},
                     [(at, scale * self.random.choice((1, 1, 1.5, -1, 0.25))) for at in self.times(60000)])
        self.family("extreme", "gauge", {"i": "0123"}, False)

    def coming_and_going(self):
        """Series that end with stale markers, and some that come back."""
        for i in range(5):
            samples, at = [], START_MS
            while at < END_MS:
                end = at + self.random.randrange(120000, 1500000)
                life = self.times(15000, 0, at, min(end, END_MS))
                samples += self.counting(life)
                samples.append(((life[-1] if life else at) + 15000, STALE_BITS))
                at = end + self.random.randrange(30000, 1200000)
            self.add({"__name__": "pods_total", "job": "pods", "pod": "p%d" % i}, samples)
        self.family("pods_total", "counter", {"job": ("pods",), "pod": ("p0", "p1", "p2", "p3", "p4")})

    def histograms(self):
        for job, instance in (("api", "a:1"), ("api", "b:1"), ("web", "c:1")):
            times = self.times(15000)
            counts, total, rows = [0] * len(BOUNDS), 0.0, []
            for at in times:
                if self.random.random() < 0.005:
                    counts, total = [0] * len(BOUNDS), 0.0
                for _ in range(self.random.randrange(12)):
                    value = self.random.lognormvariate(-2, 1.5)
                    total += value
                    for n, bound in enumerate(BOUNDS):
                        counts[n] += value <= float(bound)
                rows.append((at, list(counts), total))
            base = {"job": job, "instance": instance}
            for n, bound in enumerate(BOUNDS):
                self.add({"__name__": "latency_seconds_bucket", **base, "le": bound},
                         [(at, float(c[n])) for at, c, _ in rows])
            self.add({"__name__": "latency_seconds_sum", **base}, [(at, s) for at, _, s in rows])
            self.add({"__name__": "latency_seconds_count", **base}, [(at, float(c[-1])) for at, c, _ in rows])
        labels = {"job": ("api", "web"), "instance": ("a:1", "b:1", "c:1")}
        self.family("latency_seconds_bucket", "bucket", {**labels, "le": BOUNDS}, False)
        self.family("latency_seconds_count", "counter", labels)
        # Broken ones: counts that fall, no +Inf, a bound that is no number, bounds written differently.
        times = self.times(30000)
        for i, bounds in enumerate((("1", "2", "5", "+Inf"), ("1", "2", "5"), ("1", "x", "5", "+Inf"),
                                    ("1", "1.0", "5.00", "Inf"), ("-1", "0", "1", "+Inf"))):
            for n, bound in enumerate(bounds):
                self.add({"__name__": "broken_bucket", "i": str(i), "le": bound},
                         [(at, float(n * 10 + self.random.randrange(8 if i else 15))) for at in times])
        self.family("broken_bucket", "bucket", {"i": "01234", "le": ("1", "2", "5", "+Inf")}, False)

    def unicode(self):
        labels = {"город": ("Zürich", "東京", "a\"b\\c\nd", ""), "emoji": ("🌊", "𝔸", "é", "e\u0301")}
        for city in labels["город"]:
            for emoji in labels["emoji"]:
                row = {"__name__": "метрика.темп", "город": city, "emoji": emoji}
                self.add({k: v for k, v in row.items() if v}, self.walking(self.times(30000)))
        self.family("метрика.темп", "gauge", labels)

    def bare(self):
        self.add({"__name__": "bare"}, self.walking(self.times(15000)))
        self.family("bare", "gauge", {})
        self.add({"__name__": "slow"}, self.walking(self.times(290000)))
        self.family("slow", "gauge", {})

    def small_numbers(self):
        """Few values, labels that sort differently by number and by byte."""
        for i in ("1", "2", "10", "a10", "a9", "A", "-1", "1.5"):
            self.add({"__name__": "level", "n": i, "job": "api" if i < "2" else "web"},
                     [(at, float(self.random.randrange(4))) for at in self.times(60000)])
        self.family("level", "gauge", {"n": ("1", "2", "10", "a10", "a9", "A"), "job": ("api", "web")}, False)

    def infos(self):
        for job in ("api", "web"):
            for n, instance in enumerate(("a:1", "b:1", "c:1")):
                half = START_MS + SPAN_MS // 2
                for version, begin, end in (("1.0", START_MS, half), ("1.1", half + 15000, END_MS)):
                    self.add({"__name__": "target_info", "job": job, "instance": instance, "version": version,
                              "rack": "r%d" % n},
                             [(at, 1.0) for at in self.times(60000, 0, begin, end)] + [(end + 60001, STALE_BITS)])
        self.family("target_info", "info", {"job": ("api", "web"), "instance": ("a:1", "b:1", "c:1"),
                                            "version": ("1.0", "1.1")}, False)

    def bodies(self, series_max=50):
        """remote_write 1.0 bodies, uncompressed."""
        for first in range(0, len(self.series), series_max):
            yield b"".join(v1_series(sorted(labels.items(), key=lambda kv: kv[0].encode()), sorted(samples, key=lambda s: s[0]))
                           for labels, samples in self.series[first:first + series_max])

    def sample_count(self):
        return sum(len(samples) for _, samples in self.series)
