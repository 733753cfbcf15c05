"""A real Prometheus writes while Tidemark is killed again and again; afterwards Tidemark holds what Prometheus holds, sample for
sample and bit for bit."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

from tidemark import Tidemark, free_port

SECONDS = int(os.environ.get("PROMETHEUS_SECONDS", "20"))

CONFIG = """
global: {scrape_interval: 500ms, scrape_timeout: 400ms}
scrape_configs:
  - {job_name: prometheus, static_configs: [{targets: ["127.0.0.1:%(prometheus)d"]}]}
  - {job_name: tidemark, static_configs: [{targets: ["127.0.0.1:%(tidemark)d"]}]}
remote_write:
  - url: http://127.0.0.1:%(tidemark)d/api/v1/write
    queue_config: {batch_send_deadline: 500ms, min_backoff: 30ms, max_backoff: 200ms}
    metadata_config: {send_interval: 2s}
"""


def ask(port, query, at):
    url = "http://127.0.0.1:%d/api/v1/query?%s" % (port, urllib.parse.urlencode({"query": query, "time": "%.3f" % at}))
    with urllib.request.urlopen(url, timeout=60) as reply:
        return json.load(reply)["data"]["result"]


def samples(port, start, end):
    """{labels: {time: value text}} of everything in [start, end]."""
    window = int((end - start) * 1000)
    return {json.dumps(series["metric"], sort_keys=True): {t: v for t, v in series["values"] if start <= t <= end}
            for series in ask(port, '{__name__!=""}[%dms]' % window, end)}


@unittest.skipUnless(shutil.which("prometheus"), "no prometheus program here")
class RealPrometheus(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tidemark-prometheus-")
        self.tide = Tidemark().start()
        self.port = free_port()
        with open(self.dir + "/prometheus.yml", "w") as f:
            f.write(CONFIG % {"prometheus": self.port, "tidemark": self.tide.port})
        with open(self.dir + "/log", "w") as log:
            self.prometheus = subprocess.Popen(
                ["prometheus", "--config.file=" + self.dir + "/prometheus.yml", "--storage.tsdb.path=" + self.dir + "/data",
                 "--web.listen-address=127.0.0.1:%d" % self.port], stdout=log, stderr=log)

    def tearDown(self):
        self.prometheus.terminate()
        self.prometheus.wait()
        self.tide.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait_for(self, what, seconds, condition):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        self.fail("gave up waiting until %s" % what)

    def test_kills_lose_nothing_that_prometheus_has(self):
        # Prometheus sends nothing of the time before its queue was ready.
        self.wait_for("samples arrive", 60, lambda: len(ask(self.tide.port, "up", time.time())) == 2)
        time.sleep(1)
        start = time.time()
        end = start + SECONDS
        kills = 0
        while time.time() < end:
            time.sleep(1.1)
            self.tide.kill()
            self.tide.start()
            kills += 1
        # The newest sample of the time under test must have been sent before the comparison.
        self.wait_for("Prometheus has caught up", 60, lambda: ask(
            self.tide.port, 'timestamp(up{job="prometheus"})', time.time())[0]["value"][1] > "%.3f" % (end + 1))
        theirs, ours = samples(self.port, start, end), samples(self.tide.port, start, end)
        count = sum(len(values) for values in theirs.values())
        print("%d kills, %d samples of %d series" % (kills, count, len(theirs)))
        self.assertGreater(count, 1000)
        for labels, values in theirs.items():
            self.assertEqual(ours.get(labels, {} if not values else None), values, labels)
        self.assertEqual({k for k, v in ours.items() if v}, {k for k, v in theirs.items() if v})

    def test_metadata_arrives(self):
        def known():
            found = self.tide.get("/api/v1/metadata").json()["data"]
            return found.get("prometheus_http_requests_total", [{}])[0].get("type") == "counter"

        self.wait_for("metadata arrives", 90, known)


if __name__ == "__main__":
    unittest.main()
