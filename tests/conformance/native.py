"""Native histograms for the differential run: observed values, and the Histogram message of remote_write 1.0."""
import math
import struct

from tidemark import STALE_BITS, field_bytes, field_double, field_varint, v1_labels, varint

CUSTOM = -53  # The schema of histograms with bounds of their own.
HINT_GAUGE = 3
ZERO_THRESHOLD = 1e-3


class NativeHistogram:
    """Buckets by index; floats unless whole. bounds: the upper ones of custom buckets, without +Inf."""

    def __init__(self, schema, whole=True, bounds=()):
        self.schema, self.whole, self.bounds = schema, whole, tuple(bounds)
        self.sum, self.zero, self.hint = 0.0, 0, 0
        self.positive, self.negative = {}, {}

    def copy(self):
        out = NativeHistogram(self.schema, self.whole, self.bounds)
        out.sum, out.zero, out.hint = self.sum, self.zero, self.hint
        out.positive, out.negative = dict(self.positive), dict(self.negative)
        return out

    def observe(self, value, times=1):
        self.sum += value * times
        if self.schema == CUSTOM:
            index = next((i for i, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
            self.positive[index] = self.positive.get(index, 0) + times
        elif abs(value) <= ZERO_THRESHOLD:
            self.zero += times
        else:
            index = math.ceil(math.log2(abs(value)) * 2.0 ** self.schema)
            buckets = self.positive if value > 0 else self.negative
            buckets[index] = buckets.get(index, 0) + times

    @property
    def count(self):
        return self.zero + sum(self.positive.values()) + sum(self.negative.values())


def zigzag(n):
    return varint((n << 1) ^ (n >> 63))


def signed(number, n):
    return varint(number << 3) + zigzag(n)


def bucket_fields(buckets, spans_field, deltas_field, counts_field, whole):
    spans, counts, last = [], [], None
    for index in sorted(buckets):
        if last is not None and index == last + 1:
            spans[-1][1] += 1
        else:
            spans.append([index if last is None else index - last - 1, 1])
        counts.append(buckets[index])
        last = index
    out = b"".join(field_bytes(spans_field, signed(1, offset) + field_varint(2, length)) for offset, length in spans)
    if not counts:
        return out
    if whole:
        return out + field_bytes(deltas_field, b"".join(zigzag(b - a) for a, b in zip([0] + counts, counts)))
    return out + field_bytes(counts_field, struct.pack("<%dd" % len(counts), *counts))


def message(histogram, ms):
    """histogram None: a stale marker."""
    if histogram is None:
        return field_varint(1, 0) + field_double(3, STALE_BITS) + field_varint(15, ms)
    h = histogram
    out = field_varint(1, h.count) if h.whole else field_double(2, float(h.count))
    out += field_double(3, h.sum) + signed(4, h.schema)
    if h.schema != CUSTOM:
        out += field_double(5, ZERO_THRESHOLD) + (field_varint(6, h.zero) if h.whole else field_double(7, float(h.zero)))
    out += bucket_fields(h.negative, 8, 9, 10, h.whole) + bucket_fields(h.positive, 11, 12, 13, h.whole)
    out += field_varint(14, h.hint) + field_varint(15, ms)
    if h.bounds:
        out += field_bytes(16, struct.pack("<%dd" % len(h.bounds), *h.bounds))
    return out


def series(labels, floats, histograms):
    """A TimeSeries with floats (ms, value) and histograms (ms, NativeHistogram or None)."""
    return field_bytes(1, v1_labels(sorted(labels.items()))
                       + b"".join(field_bytes(2, field_double(1, value) + field_varint(2, ms)) for ms, value in floats)
                       + b"".join(field_bytes(4, message(histogram, ms)) for ms, histogram in histograms))


class NativeData:
    """Adds native families to a Dataset; bodies() are sent after the data set's own."""

    def __init__(self, dataset):
        self.dataset, self.random = dataset, dataset.random
        self.series = []  # (labels, floats, histograms), some in several parts
        self.counters()
        self.custom()
        self.gauges()
        self.mixed()

    def observing(self, times, schema, bounds=(), reset_chance=0.01, signed_values=False, whole=True):
        out, histogram = [], NativeHistogram(schema, whole, bounds)
        for at in times:
            if self.random.random() < reset_chance:
                histogram = NativeHistogram(schema, whole, bounds)
            for _ in range(self.random.randrange(6)):
                value = self.random.lognormvariate(-1, 1.5) * (self.random.choice((1, 1, -1)) if signed_values else 1)
                histogram.observe(0.0 if self.random.random() < 0.05 else value,
                                  1 if whole else self.random.randrange(1, 9) / 4)
            out.append((at, histogram.copy()))
        return out

    def counters(self):
        labels = {"job": ("api", "web"), "instance": ("a:1", "b:1", "c:1")}
        for job, instance, schema in (("api", "a:1", 3), ("api", "b:1", 0), ("web", "a:1", 3), ("web", "c:1", -1)):
            self.series.append(({"__name__": "size_bytes", "job": job, "instance": instance}, [],
                                self.observing(self.dataset.times(15000), schema)))
        # The resolution falls, and a scrape target ends with a stale marker and comes back.
        times = self.dataset.times(20000)
        third = len(times) // 3
        histograms = self.observing(times[:third], 4) + [(times[third], None)] + self.observing(times[third + 10:], 2)
        self.series.append(({"__name__": "size_bytes", "job": "web", "instance": "d:1"}, [], histograms))
        self.dataset.family("size_bytes", "native", labels, False)

    def custom(self):
        for instance, bounds in (("a:1", (0.1, 0.5, 1, 5)), ("b:1", (0.1, 0.5, 1, 5)), ("c:1", (0.1, 1, 10))):
            self.series.append(({"__name__": "wait_seconds", "instance": instance}, [],
                                self.observing(self.dataset.times(15000), CUSTOM, bounds)))
        self.dataset.family("wait_seconds", "native", {"instance": ("a:1", "b:1", "c:1")}, False)

    def gauges(self):
        for i in range(3):
            histograms = self.observing(self.dataset.times(30000), 2, (), 0.2, True, i == 0)
            for _, histogram in histograms:
                histogram.hint = HINT_GAUGE
            self.series.append(({"__name__": "spread", "i": str(i)}, [], histograms))
        self.dataset.family("spread", "native", {"i": "012"}, False)

    def mixed(self):
        """Floats and histograms take turns in one series, and stand beside each other in one metric."""
        times = self.dataset.times(20000)
        histograms = self.observing(times, 1)
        for first in range(0, len(times), 40):  # In the order of time: what is late need not be taken.
            self.series.append(({"__name__": "either_total", "i": "0"}, [], histograms[first:first + 20]))
            self.series.append(({"__name__": "either_total", "i": "0"},
                                [(at, float(n)) for n, at in enumerate(times[first + 20:first + 40])], []))
        self.series.append(({"__name__": "either_total", "i": "1"}, self.dataset.counting(times), []))
        self.series.append(({"__name__": "either_total", "i": "2"}, [], self.observing(times, 1)))
        self.dataset.family("either_total", "native", {"i": "012"}, False)

    def bodies(self):
        for labels, floats, histograms in self.series:
            yield series(labels, floats, histograms)

    def sample_count(self):
        return sum(len(floats) + len(histograms) for _, floats, histograms in self.series)
