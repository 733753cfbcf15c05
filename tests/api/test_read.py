"""Remote read: sampled and streamed answers, against a client of our own and through a real Prometheus."""
import json
import math
import random
import shutil
import struct
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

from tidemark import STALE_BITS, Tidemark, field_bytes, field_varint, free_port, histogram, snappy, v1_series

EQ, NEQ, RE, NRE = range(4)
SAMPLES, STREAMED = 0, 1


# ---- A client ----

def query(start, end, *matchers):
    return field_bytes(1, field_varint(1, start) + field_varint(2, end) + b"".join(
        field_bytes(3, field_varint(1, kind) + field_bytes(2, name) + field_bytes(3, value))
        for kind, name, value in matchers))


def unsnappy(data):
    def uvarint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                return value, at
    length, at = uvarint(0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                extra = size - 59
                size = int.from_bytes(data[at:at + extra], "little")
                at += extra
            out += data[at:at + size + 1]
            at += size + 1
            continue
        if tag & 3 == 1:
            size, offset, at = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at], at + 1
        elif tag & 3 == 2:
            size, offset, at = (tag >> 2) + 1, int.from_bytes(data[at:at + 2], "little"), at + 2
        else:
            size, offset, at = (tag >> 2) + 1, int.from_bytes(data[at:at + 4], "little"), at + 4
        for _ in range(size):
            out.append(out[-offset])
    assert len(out) == length
    return bytes(out)


def take_uvarint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        tag, at = take_uvarint(data, at)
        if tag & 7 == 0:
            value, at = take_uvarint(data, at)
        elif tag & 7 == 1:
            value, at = int.from_bytes(data[at:at + 8], "little"), at + 8
        else:
            size, at = take_uvarint(data, at)
            value, at = data[at:at + size], at + size
        yield tag >> 3, value


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def labels_of(series):
    pairs = [dict(fields(value)) for number, value in fields(series) if number == 1]
    return tuple((pair[1].decode(), pair[2].decode()) for pair in pairs)


def parse_samples(body):
    """Of each query, a list of (labels, [(ms, bits)])."""
    results = []
    for number, result in fields(unsnappy(body)):
        assert number == 1
        results.append([])
        for _, series in fields(result):
            samples = []
            for kind, value in fields(series):
                if kind == 2:
                    sample = dict(fields(value))
                    samples.append((signed(sample.get(2, 0)), sample.get(1, 0)))
            results[-1].append((labels_of(series), samples))
    return results


def parse_chunk(data):
    bits = int.from_bytes(data, "big")
    left = 8 * len(data)

    def take(count):
        nonlocal left
        left -= count
        return bits >> left & ((1 << count) - 1)

    def uvarint():
        value = shift = 0
        while True:
            byte = take(8)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    out = []
    t = v = delta = leading = width = 0
    for i in range(take(16)):
        if i == 0:
            t = uvarint()
            t = t >> 1 ^ -(t & 1)
            v = take(64)
        else:
            if i == 1:
                delta = uvarint()
            else:
                size = 0
                for size in (0, 14, 17, 20, 64):
                    if size == 64 or not take(1):
                        break
                if size:
                    change = take(size)
                    delta += change - (1 << size) if change > 1 << size - 1 else change
            t += delta
            if take(1):
                if take(1):
                    leading, width = take(5), take(6) or 64
                v ^= take(width) << 64 - leading - width
        out.append((t, v))
    return out


CRC = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def parse_stream(body, query_count):
    results = [[] for _ in range(query_count)]
    at = 0
    while at < len(body):
        size, at = take_uvarint(body, at)
        crc, message, at = body[at:at + 4], body[at + 4:at + 4 + size], at + 4 + size
        assert len(message) == size and crc32c(message) == int.from_bytes(crc, "big")
        message = list(fields(message))
        index = dict(message).get(2, 0)
        for number, series in message:
            if number != 1:
                continue
            samples = []
            for kind, value in fields(series):
                if kind == 2:
                    chunk = dict(fields(value))
                    assert chunk[3] == 1
                    part = parse_chunk(chunk[4])
                    assert (signed(chunk[1]), signed(chunk[2])) == (part[0][0], part[-1][0])
                    assert len(part) <= 120
                    samples += part
            labels = labels_of(series)
            if results[index] and results[index][-1][0] == labels:
                results[index][-1][1].extend(samples)
            else:
                results[index].append((labels, samples))
    return results


def bits_of(value):
    return value if isinstance(value, int) else struct.unpack("<Q", struct.pack("<d", value))[0]


class Read(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tide = Tidemark(config="query: {memory_bytes_max: 8MiB}\n").start()
        rng = random.Random(4)
        cls.data = {}
        body = b""
        for i in range(30):
            labels = {"__name__": "m", "i": str(i), "ü": "é" * (i % 3 + 1)}
            samples, t = [], 0 if i else -(10 ** 12)
            for n in range(500):
                t += rng.choice((15000, 15000, 15001, 14000, 1, 7000000))
                value = rng.choice((float(n), rng.random(), math.inf, -0.0, STALE_BITS, 0x7FF8000000000001))
                samples.append((t, value))
            cls.data[tuple(sorted(labels.items()))] = [(t, bits_of(v)) for t, v in samples]
            body += v1_series(labels, samples)
        assert cls.tide.write(body).status == 204
        for part in range(8):
            assert cls.tide.write(b"".join(
                v1_series({"__name__": "wide", "n": "%05d" % n, "part": str(part)}, [(t, 1.0) for t in range(0, 50000, 1000)])
                for n in range(1500))).status == 204

    @classmethod
    def tearDownClass(cls):
        cls.tide.close()

    def read(self, body, tenant=None, compress=True):
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                   "X-Prometheus-Remote-Read-Version": "0.1.0"}
        if tenant:
            headers["X-Scope-OrgID"] = tenant
        return self.tide.request("POST", "/api/v1/read", body=snappy(body) if compress else body, headers=headers)

    def both(self, *queries):
        """Answers of both kinds, which must agree."""
        request = b"".join(queries)
        sampled = self.read(request)
        self.assertEqual((sampled.status, sampled.headers["Content-Type"], sampled.headers["Content-Encoding"]),
                         (200, "application/x-protobuf", "snappy"))
        streamed = self.read(request + field_bytes(2, bytes([STREAMED, SAMPLES])))
        self.assertEqual((streamed.status, streamed.headers["Content-Type"]),
                         (200, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"))
        results = parse_samples(sampled.body)
        self.assertEqual(parse_stream(streamed.body, len(queries)), results)
        return results

    def expected(self, start, end, keep=lambda labels: True):
        out = [(labels, [s for s in samples if start <= s[0] <= end]) for labels, samples in self.data.items()
               if keep(dict(labels))]
        return sorted((labels, samples) for labels, samples in out if samples)

    def test_all_of_it_bit_for_bit(self):
        self.assertEqual(self.both(query(-(1 << 60), 1 << 60, (EQ, "__name__", "m"))), [self.expected(-(1 << 60), 1 << 60)])

    def test_ranges_and_matchers(self):
        for start, end, matchers, keep in (
                (100000, 2000000, [(RE, "i", "1.?")], lambda labels: labels["i"].startswith("1")),
                (15000, 15000, [(NRE, "i", "2.*")], lambda labels: not labels["i"].startswith("2")),
                (0, 10 ** 9, [(NEQ, "i", "3"), (EQ, "ü", "é")], lambda labels: labels["i"] != "3" and labels["ü"] == "é"),
                (0, 10 ** 9, [(EQ, "nothing", "x")], lambda labels: False),
                (5, 4, [], lambda labels: False)):
            matchers = [(EQ, "__name__", "m")] + matchers
            self.assertEqual(self.both(query(start, end, *matchers)), [self.expected(start, end, keep)])

    def test_several_queries(self):
        self.assertEqual(self.both(query(0, 10 ** 6, (EQ, "i", "7")), query(5, 4), query(0, 10 ** 9, (EQ, "i", "8"))),
                         [self.expected(0, 10 ** 6, lambda labels: labels["i"] == "7"), [],
                          self.expected(0, 10 ** 9, lambda labels: labels["i"] == "8")])
        self.assertEqual(self.both(), [])

    def test_tenants_are_apart(self):
        self.assertEqual(parse_samples(self.read(query(0, 10 ** 9, (EQ, "__name__", "m")), tenant="b").body), [[]])

    def test_native_histograms_are_in_sampled_answers(self):
        self.assertEqual(self.tide.write(v1_series({"__name__": "h"}, [(3000, 1.5)], histograms=[
            histogram(1000, 3, 4.5, positive=((0, (1, 2)),)), histogram(2000, 4, 5.5, positive=((0, (2, 2)),))]),
            tenant="h").status, 204)
        request = query(0, 9000, (EQ, "__name__", "h"))
        ((_, result),) = fields(unsnappy(self.read(request, tenant="h").body))
        ((_, series),) = fields(result)
        self.assertEqual(labels_of(series), (("__name__", "h"),))
        self.assertEqual([number for number, _ in fields(series)], [1, 2, 4, 4])
        for (ms, count, total), (_, record) in zip(((1000, 3, 4.5), (2000, 4, 5.5)), list(fields(series))[2:]):
            record = dict(fields(record))
            self.assertEqual((record[15], record[2], record[3]), (ms, bits_of(float(count)), bits_of(total)))
        reply = self.read(request + field_varint(2, STREAMED), tenant="h")
        self.assertEqual(reply.status, 422)
        self.assertIn("SAMPLES", reply.json()["error"])

    def test_wrong_input(self):
        for body, word in ((b"\x0a\x05\x08", "malformed"), (query(0, 1, (RE, "a", "(")), "("), (query(0, 1, (4, "a", "b")), "type"),
                           (query(0, 1, (EQ, "", "b")), "label name"), (field_varint(2, 9), "response types"),
                           (query(0, 1) * 65, "64 queries")):
            reply = self.read(body)
            self.assertEqual(reply.status, 400, reply)
            self.assertIn(word, reply.json()["error"])
        self.assertEqual(self.read(b"not snappy", compress=False).status, 400)
        self.assertEqual(self.tide.get("/api/v1/read").status, 405)

    def test_what_is_too_large_is_refused(self):
        reply = self.read(query(0, 10 ** 9, (EQ, "__name__", "wide")))
        self.assertEqual(reply.status, 422, reply)
        self.assertIn("query.memory_bytes_max", reply.json()["error"])


@unittest.skipUnless(shutil.which("prometheus"), "no prometheus program here")
class ThroughPrometheus(unittest.TestCase):
    """A Prometheus without data of its own reads ours."""

    def test_queries_through_prometheus_see_the_same(self):
        folder = tempfile.mkdtemp(prefix="tidemark-read-")
        port = free_port()
        now = int(time.time()) // 60 * 60
        with Tidemark() as tide:
            rng = random.Random(5)
            body = b""
            for i in range(40):
                t, samples = (now - 3600) * 1000 + 123, []  # Never at a step: ranges were closed before 3.0.
                while t < now * 1000:
                    samples.append((t, STALE_BITS if rng.random() < 0.02 else rng.random() * 100))
                    t += rng.choice((15000, 16000, 14000, 61000))
                body += v1_series({"__name__": "m", "i": "%02d" % i, "g": str(i % 3)}, samples)
            self.assertEqual(tide.write(body).status, 204)
            with open(folder + "/prometheus.yml", "w") as f:
                f.write("remote_read: [{url: 'http://127.0.0.1:%d/api/v1/read', read_recent: true}]\n" % tide.port)
            with open(folder + "/log", "w") as log:
                prometheus = subprocess.Popen(
                    ["prometheus", "--config.file=" + folder + "/prometheus.yml", "--storage.tsdb.path=" + folder + "/data",
                     "--web.listen-address=127.0.0.1:%d" % port], stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + 30
                while True:
                    try:
                        urllib.request.urlopen("http://127.0.0.1:%d/-/ready" % port, timeout=5).close()
                        break
                    except OSError:
                        self.assertLess(time.monotonic(), deadline, "prometheus does not start")
                        time.sleep(0.1)
                for text in ("m", "sum by (g) (m)", 'last_over_time(m{i=~"0.|1[^3]"}[45s])', "count_over_time(m[10m])",
                             'm{g!="1"}', "absent(nothing)"):
                    params = urllib.parse.urlencode({"query": text, "start": now - 3600, "end": now, "step": 37})
                    with urllib.request.urlopen("http://127.0.0.1:%d/api/v1/query_range?%s" % (port, params)) as reply:
                        theirs = json.load(reply)
                    self.assertEqual(theirs.get("warnings"), None)
                    ours = tide.get("/api/v1/query_range?" + params).json()
                    self.assertEqual(self.points(theirs), self.points(ours), text)
                    self.assertTrue(theirs["data"]["result"], text)
            finally:
                prometheus.terminate()
                prometheus.wait()
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def points(reply):
        # Sums may differ in the order of addition.
        return {json.dumps(series["metric"], sort_keys=True): [(t, "%.12g" % float(v)) for t, v in series["values"]]
                for series in reply["data"]["result"]}


if __name__ == "__main__":
    unittest.main()
