"""A real Prometheus 3 for a test: found, started on loopback with a directory of its own, ended."""
import http.client
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from tidemark import V1, free_port, snappy

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEATURES = "promql-experimental-functions,promql-delayed-name-removal,promql-duration-expr,native-histograms"
UNAVAILABLE = 3  # Exit code of get-prometheus3.sh.


class Unavailable(Exception):
    pass


def binary():
    """The path of a Prometheus 3.5 or newer: $PROMETHEUS3, or what get-prometheus3.sh fetches. Raises Unavailable."""
    if os.environ.get("PROMETHEUS3"):
        return os.environ["PROMETHEUS3"]
    done = subprocess.run([str(ROOT / "scripts" / "get-prometheus3.sh")], capture_output=True, text=True, timeout=300,
                          check=False)
    if done.returncode == UNAVAILABLE:
        raise Unavailable(done.stderr.strip())
    if done.returncode != 0:
        raise RuntimeError("get-prometheus3.sh failed:\n" + done.stderr)
    return done.stdout.strip()


class Prometheus:
    """One process that takes remote_write of any age. Samples of a series may be late by an hour."""

    def __init__(self, path):
        self.path = path
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="tidemark-oracle-")
        self.process = None

    def __enter__(self):
        with open(self.folder + "/prometheus.yml", "w") as f:
            f.write("storage:\n  tsdb:\n    out_of_order_time_window: 1h\n")
        with open(self.folder + "/log", "w") as log:
            self.process = subprocess.Popen(
                [self.path, "--config.file=" + self.folder + "/prometheus.yml",
                 "--storage.tsdb.path=" + self.folder + "/data", "--web.listen-address=127.0.0.1:%d" % self.port,
                 "--web.enable-remote-write-receiver", "--log.level=warn", "--storage.tsdb.min-block-duration=24h",
                 "--storage.tsdb.max-block-duration=24h", "--storage.tsdb.retention.time=100y",
                 "--enable-feature=" + FEATURES], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.request("GET", "/-/ready")[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        text = self.log()
        self.__exit__()
        raise RuntimeError("prometheus does not answer:\n" + text)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with open(self.folder + "/log", errors="replace") as f:
            return f.read()[-4000:]

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def write(self, body):
        return self.request("POST", "/api/v1/write", snappy(body), {
            "Content-Type": V1, "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"})
