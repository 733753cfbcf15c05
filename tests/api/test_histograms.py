"""Native histograms from remote_write to the answers of queries."""
import itertools
import unittest

from tidemark import STALE_BITS, V2, Tidemark, histogram, v1_series, v2_request

TENANTS = itertools.count()
H = {"__name__": "h", "job": "a"}
WRITTEN = "X-Prometheus-Remote-Write-Histograms-Written"


class Histograms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tide = Tidemark().start()

    @classmethod
    def tearDownClass(cls):
        cls.tide.close()

    def setUp(self):
        self.tenant = "h%d" % next(TENANTS)

    def write(self, body, status=204, written=None, **kwargs):
        reply = self.tide.write(body, tenant=self.tenant, **kwargs)
        self.assertEqual(reply.status, status, reply)
        if written is not None:
            self.assertEqual(reply.headers[WRITTEN], str(written))
        return reply

    def query(self, expr, at):
        return self.tide.query(expr, at, tenant=self.tenant)

    def one(self, expr, at):
        series, = self.query(expr, at)
        self.assertNotIn("value", series)
        return series["histogram"]


class Values(Histograms):
    def test_integers_in_both_versions(self):
        first = histogram(1000, 13, 9.5, 0, (2, 0.001), [(0, [3, 1]), (4, [2])], [(1, [5])])
        second = histogram(2000, 14, 10.5, 0, (2, 0.001), [(0, [3, 2]), (4, [2])], [(1, [5])])
        self.write(v1_series(H, [], histograms=[first]), written=1)
        self.write(v2_request([(H, [], [], None, second)]), written=1, content_type=V2)
        self.assertEqual(self.one("h", 1), [1, {
            "count": "13", "sum": "9.5",
            "buckets": [[1, "-2", "-1", "5"], [3, "-0.001", "0.001", "2"], [0, "0.5", "1", "3"], [0, "1", "2", "1"],
                        [0, "8", "16", "2"]]}])
        series, = self.query("h[5s]", 3)
        self.assertNotIn("values", series)
        self.assertEqual(series["metric"], H)
        self.assertEqual([(ts, h["count"]) for ts, h in series["histograms"]], [(1, "13"), (2, "14")])

    def test_floats(self):
        self.write(v1_series(H, [], histograms=[
            histogram(1000, 2.75, -1.5, 2, (0.25, 0), [(0, [0.5, 0.0, 2.0])], integers=False)]), written=1)
        self.assertEqual(self.one("h", 1), [1, {
            "count": "2.75", "sum": "-1.5",
            "buckets": [[3, "-0", "0", "0.25"], [0, "0.8408964152537144", "1", "0.5"],
                        [0, "1.189207115002721", "1.414213562373095", "2"]]}])

    def test_custom_buckets(self):
        self.write(v1_series(H, [], histograms=[
            histogram(1000, 6, 4, -53, positive=[(0, [1, 2]), (3, [3])], custom=[0.5, 1, 2])]))
        self.assertEqual(self.one("h", 1)[1]["buckets"],
                         [[3, "-Inf", "0.5", "1"], [0, "0.5", "1", "2"], [0, "2", "+Inf", "3"]])

    def test_without_observations(self):
        self.write(v1_series(H, [], histograms=[histogram(1000, 0, 0)]))
        self.assertEqual(self.one("h", 1), [1, {"count": "0", "sum": "0"}])

    def test_a_series_with_both_kinds(self):
        self.write(v1_series(H, [(1000, 1.5), (3000, 2.5)], histograms=[histogram(2000, 1, 1, positive=[(0, [1])])]))
        series, = self.query("h[5s]", 4)
        self.assertEqual(series["values"], [[1, "1.5"], [3, "2.5"]])
        self.assertEqual([ts for ts, _ in series["histograms"]], [2])
        self.assertEqual(self.query("h", 1)[0]["value"], [1, "1.5"])
        self.assertEqual(self.one("h", 2)[0], 2)

    def test_a_stale_marker_ends_the_series(self):
        self.write(v1_series(H, [], histograms=[histogram(1000, 1, 1, positive=[(0, [1])]),
                                                histogram(2000, 0, STALE_BITS)]), written=2)
        self.assertEqual(len(self.query("h", 1.5)), 1)
        self.assertEqual(self.query("h", 3), [])

    def test_functions_over_many(self):
        records = [histogram(1000 * i, 3 * i, 1.5 * i, 0, positive=[(0, [i, 2 * i])]) for i in range(1, 301)]
        self.write(v1_series(H, [], histograms=records[::2]), written=150)
        self.write(v1_series(H, [], histograms=records[1::2]), written=150)  # Each among the others.
        self.assertEqual(self.query("count_over_time(h[1h])", 300)[0]["value"], [300, "300"])
        self.assertEqual(self.query("histogram_count(h)", 250)[0]["value"], [250, "750"])
        self.assertEqual(self.query("histogram_sum(increase(h[100s]))", 300)[0]["value"], [300, "150"])


class Rules(Histograms):
    def test_the_same_again_is_fine_another_one_is_not(self):
        one = histogram(1000, 1, 1, positive=[(0, [1])])
        self.write(v1_series(H, [(5000, 1.0)], histograms=[one, histogram(9000, 2, 1, positive=[(0, [2])])]))
        self.write(v1_series(H, [], histograms=[one]), written=1)
        for sample, record in (([], histogram(1000, 1, 2, positive=[(0, [1])])), ([(1000, 1.0)], None),
                               ([], histogram(5000, 1, 1, positive=[(0, [1])]))):
            reply = self.write(v1_series(H, sample, histograms=[record] if record else []), 400, 0)
            self.assertIn(b"duplicate", reply.body)
            self.assertIn(b'h{job="a"}', reply.body)
        self.assertEqual(len(self.query("h[10s]", 10)[0]["histograms"]), 2)

    def test_a_bad_one_is_refused_by_name_and_the_rest_is_stored(self):
        good = histogram(1000, 1, 1, positive=[(0, [1])])
        bad = [(histogram(2000, 5, 1, positive=[(0, [1])]), "less than its count"),
               (histogram(2000, 1, 1, schema=9, positive=[(0, [1])]), "schema"),
               (histogram(2000, 3, 1, -53, positive=[(0, [1, 2])]), "custom bounds"),
               (histogram(2000, 3, 1, positive=[(0, [1.0, -2.0])], integers=False), "negative")]
        for n, (record, word) in enumerate(bad):
            labels = {"__name__": "h", "n": str(n)}
            reply = self.write(v1_series(labels, [(3000, 1.0)], histograms=[good, record]), 400, 1)
            self.assertIn(word, reply.body.decode())
            self.assertIn('h{n="%d"}' % n, reply.body.decode())
            series, = self.query('h{n="%d"}[5s]' % n, 3)
            self.assertEqual((len(series["values"]), len(series["histograms"])), (1, 1))

    def test_a_restart_keeps_them(self):
        labels = {"__name__": "kept"}
        self.write(v1_series(labels, [], histograms=[
            histogram(1000 * i, i, i / 4, 3, positive=[(i % 7, [i])]) for i in range(1, 200)]))
        before = self.query("kept[1h]", 300)
        self.tide.kill()  # From the log, then from a checkpoint.
        self.tide.start()
        self.assertEqual(self.query("kept[1h]", 300), before)
        self.tide.stop()
        self.tide.start()
        self.assertEqual(self.query("kept[1h]", 300), before)
        self.write(v1_series(labels, [], histograms=[histogram(200000, 1, 1, positive=[(0, [1])])]), written=1)
        self.assertEqual(len(self.query("kept[1h]", 300)[0]["histograms"]), 200)


if __name__ == "__main__":
    unittest.main()
