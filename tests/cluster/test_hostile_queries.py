"""Two hundred clients ask for the worst they can think of, all the time, while samples arrive and memory is short: the process
lives, no acknowledged sample is lost, and each query that is refused is told why. Prints how long writes took.

HOSTILE_SECONDS, HOSTILE_CLIENTS and HOSTILE_RATE (samples a second) make it harder than CI has time for. The memory limit is a
control group of 1 GiB where one can be made, else a limit of address space."""
import collections
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import resource
import socket
import threading
import time
import unittest
import urllib.parse

from tidemark import Tidemark, field_bytes, field_double, field_varint, snappy, v1_labels, v1_series, varint

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "6"))
CLIENTS = int(os.environ.get("HOSTILE_CLIENTS", "200"))
RATE = int(os.environ.get("HOSTILE_RATE", "20000"))
MEMORY_BYTES = 1 << 30
ADDRESS_BYTES = 8 << 30  # Threads and the log's maps reserve much more than they use.

CONFIG = """
query: {timeout: 5s, memory_bytes_max: 64MiB, total_memory_bytes_max: 192MiB}
storage: {memory_bytes_max: 900MiB}
"""
WIDE = 4000  # Series that the queries are about, and samples of each.
DEEP = 60
ANSWER_BYTES_MAX = 256 << 20

EXPRESSIONS = (
    '{__name__=~".+"}', 'count_over_time({__name__=~".*"}[100y])', "wide * on (n) group_left () wide", "wide * on () wide",
    "sum by (n) (wide) * on (n) group_right () wide", "wide or wide or wide or live", "wide and on () live",
    'count({n=~"(.*0.*|.*1.*|(a|b|c)*x?.*)+"})', 'wide{n=~"' + "(a?){30}" * 20 + '.*"}', 'wide{n!~"' + "|".join(
        "%05d.*" % n for n in range(800)) + '"}',
    "quantile_over_time(0.9, wide[1h:1s])", "max_over_time(rate(wide[5m])[1d:10s])", "sum(rate(live[1h]))", "topk(100000, wide)",
    'count_values("v", wide + live)', "sort_desc(wide)", 'label_replace(wide, "x", "$1$1$1$1$1$1$1$1", "n", "(.*)")',
    "stddev by (n) (wide)", "(" * 990 + "1" + ")" * 990, "(" * 5000 + "1" + ")" * 5000, "sum(" * 300 + "wide" + ")" * 300,
    " + ".join(["wide"] * 60), "absent_over_time(nothing[10y])", "wide @ end() offset -1000y", "live[100y]", "1 +", "}{",
    "sum without (n) (wide) / ignoring (n) group_left () wide")


def series_labels(n):
    return v1_labels([("__name__", "live"), ("g", str(n % 7)), ("n", "%05d" % n)])


def write_all(port, seconds, rate, stop, results):
    """Another process, so that the clients' work does not look like slow writes. A batch ten times a second; each until it is
    acknowledged."""
    count = max(1, rate // 10)
    labels = [series_labels(n) for n in range(count)]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took, times, refused = [], [], 0
    begin = time.monotonic()
    while time.monotonic() - begin < seconds and not stop.is_set():
        ms = int(time.time() * 1000)
        sample = field_bytes(2, field_double(1, float(len(times))) + field_varint(2, ms))
        body = snappy(b"".join(b"\x0a" + varint(len(head) + len(sample)) + head + sample for head in labels))
        while True:
            start = time.monotonic()
            connection.request("POST", "/api/v1/write", body=body, headers={
                "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status == 204:
                took.append(time.monotonic() - start)
                times.append(ms)
                break
            refused += 1
            if reply.status != 503:
                results.put(("failed", reply.status, text))
                return
            time.sleep(0.05)
        time.sleep(max(0.0, begin + len(times) / 10 - time.monotonic()))
    connection.close()
    results.put(("done", took, times, refused, count))


class MemoryLimit:
    """A control group for one process, of either version; without one, a limit of its address space."""

    def __init__(self):
        self.group = None
        for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            group = pathlib.Path(root) / ("tidemark-hostile-%d" % os.getpid())
            try:
                group.mkdir()
            except OSError:
                continue
            try:
                (group / limit).write_text(str(MEMORY_BYTES))
                self.group = group
                return
            except OSError:
                group.rmdir()

    def apply(self, pid):
        if self.group is not None:
            try:
                (self.group / "cgroup.procs").write_text(str(pid))
                return "a control group of %d MiB" % (MEMORY_BYTES >> 20)
            except OSError:
                pass
        resource.prlimit(pid, resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
        return "%d MiB of address space" % (ADDRESS_BYTES >> 20)

    def close(self):
        if self.group is not None:
            try:
                self.group.rmdir()
            except OSError:
                pass


class Client(threading.Thread):
    def __init__(self, port, number, until, outcomes):
        super().__init__(daemon=True)
        self.port, self.until, self.outcomes, self.wrong = port, until, outcomes, []
        self.random = random.Random(number)

    def path(self):
        r, now = self.random, time.time()
        expression = r.choice(EXPRESSIONS)
        kind = r.randrange(10)
        if kind < 4:
            return "/api/v1/query", {"query": expression, "time": now}
        if kind < 8:
            span = r.choice((3600, 86400, 86400 * 365))
            return "/api/v1/query_range", {"query": expression, "start": now - span, "end": now, "step": span / r.choice((60, 10999))}
        if kind == 8:
            return "/api/v1/series", {"match[]": '{__name__=~".+"}'}
        return "/api/v1/label/n/values", {"match[]": 'wide{n=~".*"}'}

    def ask(self):
        path, params = self.path()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST" if path.endswith(("query", "range", "series")) else "GET",
                               path if not path.endswith("values") else path + "?" + urllib.parse.urlencode(params),
                               body=urllib.parse.urlencode(params) if not path.endswith("values") else None,
                               headers={"Content-Type": "application/x-www-form-urlencoded"})
            if self.random.random() < 0.1:  # Some do not wait.
                connection.sock.settimeout(self.random.random())
            reply = connection.getresponse()
            if reply.status == 200:
                size = 0
                while size < ANSWER_BYTES_MAX and (piece := reply.read(1 << 16)):
                    size += len(piece)
                return "200"
            envelope = json.loads(reply.read())
            if envelope["status"] != "error" or len(envelope["error"]) < 10:
                self.wrong.append((params, reply.status, envelope))
            return "%d %s" % (reply.status, envelope["errorType"])
        except socket.timeout:
            return "gone"
        except http.client.IncompleteRead:
            return "cut"
        finally:
            connection.close()

    def run(self):
        while time.monotonic() < self.until:
            try:
                self.outcomes[self.ask()] += 1
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.outcomes["broken"] += 1
                self.wrong.append(repr(error))
                time.sleep(0.05)


class HostileQueries(unittest.TestCase):
    def setUp(self):
        self.limit = MemoryLimit()
        self.tide = Tidemark(config=CONFIG).start()
        self.limited = self.limit.apply(self.tide.process.pid)

    def tearDown(self):
        self.tide.close()
        self.limit.close()

    def preload(self):
        now = int(time.time()) * 1000
        for part in range(0, WIDE, 1000):
            body = b"".join(v1_series({"__name__": "wide", "n": "%05d" % n},
                                      [(now - 60000 * (DEEP - i), float(n * i % 97)) for i in range(DEEP)])
                            for n in range(part, part + 1000))
            self.assertEqual(self.tide.write(body).status, 204)

    def test_writes_go_on_and_refusals_say_why(self):
        self.preload()
        stop, results = multiprocessing.Event(), multiprocessing.Queue()
        writer = multiprocessing.Process(target=write_all, args=(self.tide.port, SECONDS, RATE, stop, results))
        writer.start()
        until = time.monotonic() + SECONDS
        outcomes = collections.Counter()
        clients = [Client(self.tide.port, n, until, outcomes) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            outcome = results.get(timeout=SECONDS + 60)
        finally:
            stop.set()
            writer.join(30)
        for client in clients:
            client.join(60)
        self.assertIsNone(self.tide.process.poll(), "the process ended:\n" + self.tide.log())
        self.assertEqual(outcome[0], "done", outcome)
        _, took, times, refused, count = outcome
        took.sort()
        status = pathlib.Path("/proc/%d/status" % self.tide.process.pid).read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
        print("\nhostile: limit %s, peak %d MiB; %d writes of %d samples, %d refused; median %.0f ms, p99 %.0f ms, max %.0f ms; "
              "answers %s" % (self.limited, peak, len(took), count, refused, 1000 * took[len(took) // 2],
                              1000 * took[int(len(took) * 0.99)], 1000 * took[-1], dict(outcomes)), flush=True)
        self.assertEqual([wrong for client in clients for wrong in client.wrong][:5], [])
        self.assertGreater(outcomes["200"], 0)
        self.assertGreater(outcomes["422 execution"], 0)
        self.check_nothing_is_lost(times, count)

    def check_nothing_is_lost(self, times, count):
        at = times[-1] / 1000
        for n in (0, count // 2, count - 1):
            series = self.tide.query('live{n="%05d"}[1d]' % n, at)[0]["values"]
            self.assertEqual([round(t * 1000) for t, _ in series], times)
        same = self.tide.query("count(count_over_time(live[1d]) == %d)" % len(times), at)
        self.assertEqual(same[0]["value"][1], str(count), "samples are lost")


if __name__ == "__main__":
    unittest.main()
