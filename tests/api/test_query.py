"""The query API: shapes, parameters, errors, hostile queries."""
import json
import socket
import threading
import time
import unittest
import urllib.parse

from tidemark import Tidemark, v1_series


class Query(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tide = Tidemark(config="query: {samples_max: 2000000, timeout: 20s}\n").start()
        body = b""
        for i in range(3):
            body += v1_series({"__name__": "x", "i": str(i)}, [(t * 1000, float(t * i)) for t in range(0, 600, 10)])
        body += v1_series({"__name__": "odd.name", "label with ü": "v"}, [(0, 1.0)])
        cls.send(body)
        wide = b"".join(v1_series({"__name__": "wide", "n": "%05d" % n}, [(t * 1000, 1.0) for t in range(0, 600, 10)])
                        for n in range(5000))
        cls.send(wide)

    @classmethod
    def send(cls, body):
        reply = cls.tide.write(body)
        if reply.status != 204:
            raise RuntimeError(repr(reply))

    @classmethod
    def tearDownClass(cls):
        cls.tide.close()

    def get(self, call, **params):
        return self.tide.get("/api/v1/" + call, **params)

    def fails(self, reply, status, kind, *words):
        self.assertEqual(reply.status, status, reply)
        envelope = reply.json()
        self.assertEqual((envelope["status"], envelope["errorType"]), ("error", kind))
        for word in words:
            self.assertIn(word, envelope["error"])

    def test_vector(self):
        data = self.get("query", query='x{i="2"}', time=100).json()
        self.assertEqual(data, {"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "x", "i": "2"}, "value": [100, "200"]}]}})

    def test_result_type_stands_before_result(self):
        self.assertLess(self.get("query", query="x", time=1).body.index(b"resultType"),
                        self.get("query", query="x", time=1).body.index(b'"result"'))

    def test_scalar_string_matrix(self):
        self.assertEqual(self.get("query", query="1+1", time=4).json()["data"],
                         {"resultType": "scalar", "result": [4, "2"]})
        self.assertEqual(self.get("query", query='"hé"', time=4.5).json()["data"],
                         {"resultType": "string", "result": [4.5, "hé"]})
        self.assertEqual(self.get("query", query='x{i="1"}[20s]', time=30).json()["data"]["result"][0]["values"],
                         [[20, "20"], [30, "30"]])

    def test_range(self):
        result = self.get("query_range", query="sum(x)", start=0, end=20, step=10).json()["data"]
        self.assertEqual(result, {"resultType": "matrix", "result": [
            {"metric": {}, "values": [[0, "0"], [10, "30"], [20, "60"]]}]})

    def test_post_form_and_prefix(self):
        form = urllib.parse.urlencode({"query": "count(x)", "time": "10"})
        for path in ("/api/v1/query", "/prometheus/api/v1/query"):
            reply = self.tide.request("POST", path, body=form,
                                      headers={"Content-Type": "application/x-www-form-urlencoded"})
            self.assertEqual(reply.json()["data"]["result"][0]["value"], [10, "3"])

    def test_times(self):
        for text in ("100", "100.0", "1970-01-01T00:01:40Z", "1970-01-01T01:01:40+01:00", "1970-01-01T00:01:40.000Z"):
            self.assertEqual(self.get("query", query="time()", time=text).json()["data"]["result"], [100, "100"], text)
        self.fails(self.get("query", query="1", time="noon"), 400, "bad_data", "time", "noon")

    def test_bad_ranges(self):
        for params, word in (({"start": "0", "end": "1"}, "step"), ({"start": "0", "step": "1"}, "end"),
                             ({"start": "5", "end": "1", "step": "1"}, "end"),
                             ({"start": "0", "end": "1", "step": "0"}, "step"),
                             ({"start": "0", "end": "1", "step": "-1"}, "step"),
                             ({"start": "0", "end": "11001", "step": "1"}, "11,000")):
            self.fails(self.get("query_range", query="x", **params), 400, "bad_data", word)

    def test_errors_have_positions(self):
        self.fails(self.get("query", query="sum(x"), 400, "bad_data", "1:6", "parse error")
        self.fails(self.get("query", query=""), 400, "bad_data", "parse error")
        self.fails(self.get("query", query="rate(x)"), 400, "bad_data", "rate")
        self.fails(self.get("query", query="x + on(i) group_left x{i=~\"1|2\"} * on() x", time=10), 422, "execution")

    def test_labels_series_values(self):
        self.assertEqual(self.get("labels").json()["data"], ["__name__", "i", "label with ü", "n"])
        self.assertEqual(self.get("labels", match='x{i="1"}').json()["data"], ["__name__", "i"])
        self.assertEqual(self.get("label/__name__/values").json()["data"], ["odd.name", "wide", "x"])
        self.assertEqual(self.get("label/i/values", match="x", limit=2).json(),
                         {"status": "success", "data": ["0", "1"], "warnings": ["results truncated due to limit"]})
        self.assertEqual(self.get("label/U__label_20_with_20__fc_/values").json()["data"], ["v"])
        self.assertEqual(self.get("series", match=['x{i="1"}', 'x{i=~"0|1"}']).json()["data"],
                         [{"__name__": "x", "i": "0"}, {"__name__": "x", "i": "1"}])
        self.fails(self.get("series"), 400, "bad_data", "match[]")
        self.fails(self.get("series", match="{}"), 400, "bad_data")
        self.assertEqual(self.get("series", match="x", start=5000, end=6000).json()["data"], [])

    def test_format_query_and_status(self):
        self.assertEqual(self.get("format_query", query="sum  by(i)(x)").json()["data"], "sum by (i) (x)")
        build = self.get("status/buildinfo").json()["data"]
        self.assertEqual(build["application"], "Tidemark")
        self.assertNotIn("features", build)
        tsdb = self.get("status/tsdb").json()["data"]
        self.assertEqual(tsdb["headStats"]["numSeries"], 5004)
        self.assertEqual(tsdb["seriesCountByMetricName"][0], {"name": "wide", "value": 5000})
        self.assertEqual(tsdb["labelValueCountByLabelName"][0], {"name": "n", "value": 5000})

    def test_exemplar_probe_of_grafana(self):
        reply = self.get("query_exemplars", query="test", start=1790000000000, end=1790000001000)
        self.assertEqual(reply.json(), {"status": "success", "data": []})

    def test_unknown_paths_are_404(self):
        for path in ("/api/v1/nothing", "/api/v2/query", "/nothing"):
            self.assertEqual(self.tide.get(path).status, 404)
        self.assertEqual(self.tide.get("/api/v1/label//values").status, 404)

    def test_the_page(self):
        reply = self.tide.get("/")
        self.assertEqual(reply.status, 200)
        self.assertIn("text/html", reply.headers["Content-Type"])

    def test_own_metrics(self):
        metrics = self.tide.metrics()
        for name in ('tide_distributor_samples_total{outcome="stored"}', "tide_head_series",
                     'tide_head_memory_bytes{purpose="open_chunks"}', "process_resident_memory_bytes"):
            self.assertGreater(metrics[name], 0, name)

    # ---- Hostile queries ----

    def still_works(self):
        self.assertEqual(self.get("query", query="count(x)", time=10).json()["data"]["result"][0]["value"], [10, "3"])

    def test_a_megabyte(self):
        query = "x{a=~\"" + "b" * (1 << 20) + "\"}"
        reply = self.tide.request("POST", "/api/v1/query", body=urllib.parse.urlencode({"query": query}),
                                  headers={"Content-Type": "application/x-www-form-urlencoded"})
        self.fails(reply, 400, "bad_data")
        reply = self.tide.request("POST", "/api/v1/query", body="query=" + "+".join(["1"] * (1 << 19)),
                                  headers={"Content-Type": "application/x-www-form-urlencoded"})
        self.fails(reply, 400, "bad_data")
        self.still_works()

    def test_nested_10000_deep(self):
        for query in ("(" * 10000 + "x" + ")" * 10000, "-" * 10000 + "x", "abs(" * 10000 + "x" + ")" * 10000,
                      "(" * 10000, "+".join(["x"] * 10000)):
            reply = self.tide.request("POST", "/api/v1/query", body=urllib.parse.urlencode({"query": query}),
                                      headers={"Content-Type": "application/x-www-form-urlencoded"})
            self.fails(reply, 400, "bad_data")
        self.still_works()

    def test_hostile_regexes(self):
        for pattern in ("((a{1,100}){1,100}){1,100}", "(", "a**", r"\\1", "(?=a)", "(" + "x" * 9000 + ")?"):
            reply = self.tide.request("POST", "/api/v1/query",
                                      body=urllib.parse.urlencode({"query": 'x{i=~"%s"}' % pattern}),
                                      headers={"Content-Type": "application/x-www-form-urlencoded"})
            self.fails(reply, 400, "bad_data", "1:3")
        start = time.monotonic()
        self.assertEqual(self.get("query", query='wide{n=~"(.*)*(.*)*(.*)*x"}').json()["data"]["result"], [])
        self.assertLess(time.monotonic() - start, 10)
        self.still_works()

    def test_over_the_sample_limit(self):
        reply = self.get("query_range", query="sum_over_time(wide[10m]) + avg_over_time({n=~\".+\"}[9m])"
                         " + max_over_time({n=~\".*.\"}[8m]) + min_over_time({__name__=\"wide\",n!=\"\"}[7m])"
                         " + count_over_time({__name__=~\"wide\",n!=\"1\"}[6m])"
                         " + last_over_time({__name__=~\"wide\",n!=\"2\"}[6m])"
                         " + sum_over_time({__name__=~\"wide\",n!=\"3\"}[6m])"
                         " + sum_over_time({__name__=~\"wide\",n!=\"4\"}[6m])", start=0, end=600, step=1)
        self.fails(reply, 422, "execution", "sample")
        self.still_works()

    def test_past_its_deadline(self):
        reply = self.get("query_range", query="quantile_over_time(0.9, wide[10m])", start=0, end=10000, step=1,
                         timeout="10ms")
        self.fails(reply, 503, "timeout", "timed out")
        self.still_works()

    def test_a_client_that_goes_away(self):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.tide.port)) as s:
                path = "/api/v1/query_range?" + urllib.parse.urlencode(
                    {"query": "quantile_over_time(0.9, wide[10m])", "start": 0, "end": 10000, "step": 1})
                s.sendall(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path).encode())
                time.sleep(0.01)
        start = time.monotonic()
        self.still_works()
        self.assertLess(time.monotonic() - start, 15, "abandoned queries go on")

    def test_a_large_answer_streams(self):
        reply = self.get("query_range", query="wide", start=0, end=590, step=5)
        result = json.loads(reply.body)["data"]["result"]
        self.assertEqual(len(result), 5000)
        self.assertEqual({len(series["values"]) for series in result}, {119})

    def test_many_at_once(self):
        failures = []

        def ask():
            for _ in range(10):
                try:
                    if self.get("query", query="sum(rate(wide[5m]))", time=500).status != 200:
                        failures.append("status")
                except OSError as err:
                    failures.append(err)

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


if __name__ == "__main__":
    unittest.main()
