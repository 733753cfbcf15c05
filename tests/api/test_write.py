"""remote_write as its two specifications say, and what it answers to bad input."""
import gzip
import itertools
import random
import resource
import socket
import struct
import time
import unittest

from tidemark import STALE_BITS, V2, Tidemark, field_bytes, field_double, field_varint, snappy, v1_metadata, \
    v1_series, v2_request, varint

X = {"__name__": "x", "job": "a"}


TENANTS = itertools.count()


class Write(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tide = Tidemark().start()

    @classmethod
    def tearDownClass(cls):
        cls.tide.close()

    def setUp(self):
        self.tenant = "t%d" % next(TENANTS)

    def write(self, body, **kwargs):
        return self.tide.write(body, tenant=self.tenant, **kwargs)

    def values(self, query, at):
        return [series["values"] for series in self.tide.query(query, at, tenant=self.tenant)]

    def still_works(self):
        self.assertEqual(self.write(v1_series({"__name__": "good"}, [(1000, 1.0)])).status, 204)
        self.assertEqual(self.values("good[5s]", 2), [[[1, "1"]]])

    def refused(self, reply, status, *words):
        self.assertEqual(reply.status, status, reply)
        for word in words:
            self.assertIn(word, reply.body.decode(errors="replace"))
        self.still_works()


class Accepted(Write):
    def test_version_1(self):
        body = v1_series(X, [(1000, 1.5), (2000, -0.0), (3000, float("inf"))], [({"trace_id": "abc"}, 7.0, 1500)])
        reply = self.write(body + v1_metadata("x", 1, "How many x.", "things"))
        self.assertEqual(reply.status, 204, reply)
        self.assertEqual(reply.headers["X-Prometheus-Remote-Write-Samples-Written"], "3")
        self.assertEqual(reply.headers["X-Prometheus-Remote-Write-Exemplars-Written"], "1")
        self.assertEqual(reply.headers["X-Prometheus-Remote-Write-Histograms-Written"], "0")
        self.assertEqual(self.values("x[10s]", 3), [[[1, "1.5"], [2, "-0"], [3, "+Inf"]]])
        exemplars = self.tide.get("/api/v1/query_exemplars", tenant=self.tenant, query="x", start=0, end=10).json()
        self.assertEqual(exemplars["data"], [{"seriesLabels": X, "exemplars": [
            {"labels": {"trace_id": "abc"}, "value": "7", "timestamp": 1.5}]}])
        metadata = self.tide.get("/api/v1/metadata", tenant=self.tenant).json()
        self.assertEqual(metadata["data"], {"x": [{"type": "counter", "help": "How many x.", "unit": "things"}]})

    def test_version_2(self):
        body = v2_request([(X, [(1000, 1.0), (2000, 2.0)], [({"trace_id": "abc"}, 7.0, 1500)],
                            (2, "A gauge.", "bytes")), ({"__name__": "y"}, [(1000, 3.0)], [], None)])
        for n in (1, 2):  # The second time all references are known.
            reply = self.write(body, content_type=V2)
            self.assertEqual(reply.status, 204, reply)
            self.assertEqual(reply.headers["X-Prometheus-Remote-Write-Samples-Written"], "3", "request %d" % n)
        self.assertEqual(self.values("x[10s]", 3), [[[1, "1"], [2, "2"]]])
        self.assertEqual(self.values("y[10s]", 3), [[[1, "3"]]])
        metadata = self.tide.get("/api/v1/metadata", tenant=self.tenant, metric="x").json()
        self.assertEqual(metadata["data"], {"x": [{"type": "gauge", "help": "A gauge.", "unit": "bytes"}]})

    def test_both_versions_mean_the_same_series(self):
        self.assertEqual(self.write(v1_series(X, [(1000, 1.0)])).status, 204)
        self.assertEqual(self.write(v2_request([(X, [(2000, 2.0)], [], None)]), content_type=V2).status, 204)
        self.assertEqual(self.values("x[10s]", 3), [[[1, "1"], [2, "2"]]])

    def test_encodings(self):
        for n, (encoding, pack) in enumerate((("snappy", snappy), ("gzip", gzip.compress))):
            reply = self.tide.write(pack(v1_series(X, [(1000 * (n + 1), 1.0)])), encoding=encoding, compress=False,
                                    tenant=self.tenant)
            self.assertEqual(reply.status, 204, (encoding, reply))
        self.assertEqual(self.values("x[10s]", 3), [[[1, "1"], [2, "1"]]])

    def test_without_content_headers_it_is_version_1_and_snappy(self):
        reply = self.tide.request("POST", "/api/v1/write", body=snappy(v1_series(X, [(1000, 1.0)])),
                                  headers={"X-Scope-OrgID": self.tenant})
        self.assertEqual(reply.status, 204, reply)

    def test_stale_markers_and_nans_come_back(self):
        self.write(v1_series(X, [(1000, 1.0), (2000, STALE_BITS), (3000, 0x7FF8000000000001), (4000, 4.0)]))
        self.assertEqual(self.values("x[10s]", 5), [[[1, "1"], [3, "NaN"], [4, "4"]]])
        self.assertEqual(self.tide.query("x", 2, tenant=self.tenant), [])

    def test_any_age_and_any_order(self):
        now = int(time.time())
        order = [now, 10, now - 86400, 5, now - 10, 20 * 365 * 86400, 7]
        for second in order:
            self.assertEqual(self.write(v1_series(X, [(second * 1000, float(second))])).status, 204)
        for second in order:
            self.assertEqual(float(self.tide.query("x", second, tenant=self.tenant)[0]["value"][1]), second)

    def test_the_same_again_changes_nothing(self):
        body = v1_series(X, [(1000, 1.0), (2000, 2.0)])
        for _ in range(3):
            self.assertEqual(self.write(body).status, 204)
        self.assertEqual(self.values("x[10s]", 3), [[[1, "1"], [2, "2"]]])

    def test_tenants_do_not_see_each_other(self):
        self.write(v1_series(X, [(1000, 1.0)]))
        self.assertEqual(self.tide.query("x", 1, tenant="someone-else"), [])

    def test_empty_request(self):
        self.assertEqual(self.write(b"").status, 204)

    def test_unknown_fields_are_passed_over(self):
        body = v1_series(X, [(1000, 1.0)]) + field_varint(99, 7) + field_bytes(98, "later")
        self.assertEqual(self.write(body).status, 204)


class Refused(Write):
    def test_another_value_at_a_timestamp_by_name_and_the_rest_is_kept(self):
        self.write(v1_series(X, [(1000, 1.0)]))
        reply = self.write(v1_series(X, [(1000, 9.0), (2000, 2.0)]) + v1_series({"__name__": "y"}, [(1000, 3.0)]))
        self.assertEqual(reply.headers["X-Prometheus-Remote-Write-Samples-Written"], "2")
        self.refused(reply, 400, 'x{job="a"}', "duplicate sample", "1 of 3")
        self.assertEqual(self.values("x[10s]", 3), [[[1, "1"], [2, "2"]]])
        self.assertEqual(self.values("y[10s]", 3), [[[1, "3"]]])

    def test_bad_labels_by_name_and_the_rest_is_kept(self):
        long_value = "v" * 1_000_000
        for labels, words in (
                ([("__name__", "x"), ("b", "1"), ("a", "2")], ["a"]),
                ([("__name__", "x"), ("a", "1"), ("a", "2")], ["a"]),
                ([("__name__", "x"), ("a", "")], ["a"]),
                ([("", "v"), ("__name__", "x")], []),
                ([("a", "1")], ["__name__"]),
                ([("__name__", "")], ["__name__"]),
                ([("__name__", "x"), ("a", b"\xff\xfe")], ["UTF-8"]),
                ([("__name__", "x"), (b"\xc0\x80", "v")], ["UTF-8"]),
                ([("__name__", "x"), ("a", long_value)], ["a"]),
                ([("__name__", "x")] + [("l%04d" % i, "v") for i in range(500)], ["labels"])):
            with self.subTest(labels=str(labels)[:80]):
                reply = self.write(v1_series(labels, [(1000, 1.0)]) + v1_series({"__name__": "z"}, [(1000, 3.0)]))
                self.assertEqual(reply.headers["X-Prometheus-Remote-Write-Samples-Written"], "1")
                self.assertLess(len(reply.body), 1000)
                self.refused(reply, 400, "series 0", *words)
                self.assertEqual(self.values("z[10s]", 3), [[[1, "3"]]])

    def test_version_2_symbols(self):
        symbols = b"".join(field_bytes(4, s) for s in ("", "__name__", "x"))
        sample = field_bytes(2, field_double(1, 1.0) + field_varint(2, 1000))

        def body(refs, table=symbols):
            return table + field_bytes(5, field_bytes(1, b"".join(varint(r) for r in refs)) + sample)

        self.refused(self.write(body([1, 9]), content_type=V2), 400, "series 0", "symbol table")
        self.refused(self.write(body([1, 2, 1]), content_type=V2), 400)
        self.refused(self.write(body([0, 1], field_bytes(4, "__name__") + field_bytes(4, "x")), content_type=V2), 400)

    def test_truncated_bodies(self):
        body = v1_series(X, [(1000, 1.0)])
        for cut in range(1, len(body)):
            self.assertEqual(self.write(body[:cut]).status, 400, cut)
        packed = snappy(body)
        for cut in range(0, len(packed)):
            reply = self.tide.write(packed[:cut], compress=False, tenant=self.tenant)
            self.assertEqual(reply.status, 400, cut)
        self.still_works()

    def test_random_bytes(self):
        rng = random.Random(1)
        for _ in range(200):
            noise = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200)))
            self.assertIn(self.write(noise).status, (204, 400))
            self.assertIn(self.tide.write(noise, compress=False, tenant=self.tenant).status, (204, 400, 413))
        self.still_works()

    def test_snappy_bombs(self):
        for claimed in (1 << 20, (64 << 20) + 1, (1 << 32) - 1):
            reply = self.tide.write(varint(claimed) + b"\x00", compress=False, tenant=self.tenant)
            self.assertIn(reply.status, (400, 413))
        # 40 MiB of real expansion: a literal byte, then copies of 64 bytes with offset 1.
        size = 40 << 20
        bomb = varint(size) + b"\x00\x00" + b"\xfe\x01\x00" * ((size - 1) // 64)
        self.refused(self.tide.write(bomb, compress=False, tenant=self.tenant), 400)

    def test_gzip_bomb(self):
        bomb = gzip.compress(b"\0" * (80 << 20), 9)
        self.refused(self.tide.write(bomb, encoding="gzip", compress=False, tenant=self.tenant), 413)

    def test_too_large_a_body_is_refused_before_it_is_read(self):
        with socket.create_connection(("127.0.0.1", self.tide.port), timeout=20) as s:
            s.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            self.assertIn(b" 413 ", s.recv(4096).split(b"\r\n")[0] + b" ")
        self.still_works()

    def test_chunked_body_over_the_limit(self):
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with socket.create_connection(("127.0.0.1", self.tide.port), timeout=20) as s:
            s.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(400):
                    s.sendall(chunk)
            except OSError:
                pass  # Closed in the middle of it: refused as well.
            try:
                head = s.recv(4096)
            except OSError:
                head = b""
            self.assertTrue(head == b"" or b" 413 " in head, head[:100])
        self.still_works()

    def test_wrong_type_or_encoding(self):
        body = v1_series(X, [(1000, 1.0)])
        self.refused(self.write(body, content_type="application/json"), 415, "application/json")
        self.refused(self.write(body, content_type="application/x-protobuf;proto=some.Other"), 415, "some.Other")
        self.refused(self.write(body, encoding="br"), 415, "br")
        self.refused(self.write(body, encoding="identity", compress=False), 415, "identity")

    def test_wrong_method(self):
        self.assertEqual(self.tide.get("/api/v1/write").status, 405)

    def test_bad_tenants(self):
        for tenant in ("a/b", "x" * 151, "a b"):
            reply = self.tide.write(v1_series(X, [(1000, 1.0)]), tenant=tenant)
            self.refused(reply, 400, "X-Scope-OrgID")

    def test_few_bytes_that_stand_for_many(self):
        """Short metadata takes ten times its bytes when decoded; 2.0 bodies name a long text by one byte, again and
        again. Neither may cost much memory, and what a shard has accepted it must be able to read again."""
        def packed(body, **kwargs):
            return self.write(gzip.compress(body, 1), encoding="gzip", compress=False, **kwargs)

        self.refused(packed(field_bytes(3, field_bytes(2, "a")) * 4_000_000), 413, "fewer")
        symbols = ["", "v" * 4096, "__name__"] + ["l%02d" % i for i in range(60)]
        refs = b"".join(varint(i) + varint(1) for i in range(2, len(symbols)))
        series = field_bytes(5, field_bytes(1, refs) + field_bytes(2, field_double(1, 1.0) + field_varint(2, 1000)))
        body = b"".join(field_bytes(4, text) for text in symbols) + series * 20_000
        self.refused(packed(body, content_type=V2), 413, "fewer")
        names = sorted([chr(c) for c in range(33, 95)] + ["__name__"])
        series = v1_series([(name, "v") for name in names], [(1000, 1.0)])
        self.refused(packed(series * 110_000), 413, "fewer")
        self.tide.kill()
        self.tide.start()
        self.still_works()

    def test_only_the_first_bad_series_is_put_into_words(self):
        """Saying what is wrong with 256 KiB of labels takes milliseconds: 20,000 times would be a minute."""
        symbols = ["", "v" * 4096, "__name__"] + ["l%02d" % i for i in range(60)]
        refs = b"".join(varint(i) + varint(1) for i in range(2, len(symbols)))
        sample = field_bytes(2, field_double(1, 1.0) + field_varint(2, 1000))
        for series in (field_bytes(1, refs + varint(len(symbols) - 1) + varint(1)) + sample,  # The last label twice.
                       field_bytes(1, refs) + field_bytes(3, field_varint(1, 7))):  # A histogram without its buckets.
            body = b"".join(field_bytes(4, text) for text in symbols) + field_bytes(5, series) * 20_000
            started = time.monotonic()
            reply = self.write(gzip.compress(body, 1), content_type=V2, encoding="gzip", compress=False)
            self.assertLess(time.monotonic() - started, 15)
            self.refused(reply, 400, "series 0")
        names = self.tide.get("/api/v1/labels", tenant=self.tenant).json()["data"]
        self.assertNotIn("l00", names)  # Without samples no series is made.

    def test_one_bad_request_costs_no_memory(self):
        before = self.tide.metrics()["process_resident_memory_bytes"]
        labels = [("__name__", "x")] + [("label%d" % i, "v" * 4000) for i in range(60)]
        for i in range(50):
            self.write(v1_series(labels, [(1000, 1.0)]) * 4)
            self.tide.write(varint((60 << 20)) + b"\x00" * 100, compress=False, tenant=self.tenant)
        self.assertLess(self.tide.metrics()["process_resident_memory_bytes"] - before, 64 << 20)


class Connections(Write):
    def test_slow_senders_hold_nobody_up(self):
        slow = [socket.create_connection(("127.0.0.1", self.tide.port)) for _ in range(50)]
        for s in slow:
            s.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
        start = time.monotonic()
        for _ in range(20):
            for s in slow:
                s.sendall(b"d")
            self.still_works()
        self.assertLess(time.monotonic() - start, 20)
        for s in slow:
            s.close()

    def test_many_slow_senders_do_not_use_up_the_room_for_bodies(self):
        """A few bytes of a body hold little of write.in_flight_bytes_max."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 4000:
            self.skipTest("this machine allows a process %d files" % hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
        slow = []
        try:
            for _ in range(2000):
                slow.append(socket.create_connection(("127.0.0.1", self.tide.port)))
                slow[-1].sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 262144\r\n\r\nabc")
            time.sleep(0.2)
            self.still_works()
        finally:
            for s in slow:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_10000_idle_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 12000:
            self.skipTest("this machine allows a process %d files" % hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
        before = self.tide.metrics()["process_resident_memory_bytes"]
        idle = []
        try:
            for _ in range(10000):
                idle.append(socket.create_connection(("127.0.0.1", self.tide.port)))
            self.still_works()
            self.assertLess(self.tide.metrics()["process_resident_memory_bytes"] - before, 256 << 20)
        finally:
            for s in idle:
                # Reset rather than closed, so that no 10,000 ports linger.
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.still_works()


if __name__ == "__main__":
    unittest.main()
