"""Measures Tidemark and its peers on the same remote_write load. See README.md for what the figures mean."""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

# How long a server may settle after the load before its disk and CPU are read, in seconds: long enough for
# VictoriaMetrics' 5 s flush, the same for all.
SETTLE_S = 6
# How long a server may take to start, and after a kill to answer every sample again, in seconds.
START_S = 60
RECOVER_S = 300
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """What stops one server's run, for people."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One program under test: started, killed and read by process id; nothing else is touched."""

    def __init__(self, name, command, directory):
        self.name = name
        self.port = free_port()
        self.directory = directory
        self.data = os.path.join(directory, "data")
        self.log = open(os.path.join(directory, "log"), "ab")
        self.command = [part.format(data=self.data, port=self.port, dir=directory) for part in command]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, cwd=self.directory)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}; see {self.log.name}")
            try:
                if Client(self.port).get("/api/v1/query", query="1", time="1")["status"] == "success":
                    return
            except (OSError, http.client.HTTPException, ValueError, Failed):
                time.sleep(0.02)
        raise Failed(f"{self.name} did not start in {START_S} s")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()
        self.log.close()

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def memory_peak_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        raise Failed("no VmHWM")

    def disk_bytes(self):
        total = 0
        for folder, _, names in os.walk(self.data):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass
        return total


class Client:
    """A Prometheus API client over one kept-alive connection."""

    def __init__(self, port, **always):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=RECOVER_S)
        self.always = always

    def get(self, path, **parameters):
        query = urllib.parse.urlencode({**parameters, **self.always})
        self.connection.request("GET", f"{path}?{query}")
        reply = self.connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise Failed(f"{reply.status}: {body[:300].decode(errors='replace')}")
        return json.loads(body)


def programs(build):
    """Name, command and extra query parameters of each server; those that are missing are named and left out."""
    everything = [
        ("tidemark", [os.path.join(build, "tidemark"), "run", "--data-dir", "{data}",
                      "--http-listen", "127.0.0.1:{port}"], {}),
        ("prometheus", ["prometheus", "--config.file={dir}/prometheus.yml", "--storage.tsdb.path={data}",
                        "--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
                        "--query.max-samples=2000000000", "--log.level=warn"], {}),
        # Its cache of range results would answer a repeated query without work, and its latency offset would
        # hide the newest samples: both off, as the other two have neither.
        ("victoria-metrics", ["victoria-metrics", "-storageDataPath={data}", "-httpListenAddr=127.0.0.1:{port}",
                              "-retentionPeriod=100y", "-search.latencyOffset=0", "-search.disableCache",
                              "-search.maxUniqueTimeseries=100000000", "-search.maxSamplesPerQuery=100000000000",
                              "-search.maxQueryDuration=300s", "-loggerLevel=WARN"], {"nocache": "1"}),
    ]
    found = []
    for name, command, always in everything:
        if shutil.which(command[0]) is None:
            print(f"{name}: not installed, skipped" + (" (--install-peers installs it)" if name != "tidemark" else
                                                       f" (no {command[0]}; build it with scripts/build.sh)"),
                  file=sys.stderr)
            continue
        found.append((name, command, always))
    return found


def stored_samples(client, load):
    """How many samples the server answers."""
    answer = client.get("/api/v1/query", query=load.count_query(), time=f"{load.end_s:.3f}")
    result = answer["data"]["result"]
    return int(float(result[0]["value"][1])) if result else 0


def recover(server, client_of, load, expected):
    """Kills the server and starts it again: seconds until it answers every sample, and how many are gone."""
    server.kill()
    begun = time.monotonic()
    server.start()
    client = client_of()
    best = 0
    best_at = time.monotonic()
    while True:
        try:
            count = stored_samples(client, load)
        except (OSError, http.client.HTTPException, ValueError, Failed):
            count, client = 0, client_of()
        now = time.monotonic()
        if count > best:
            best, best_at = count, now
        # What has not come back after as long again as it took so far, and 10 s, is lost.
        if best >= expected or now - best_at > 10 + (best_at - begun) or now - begun > RECOVER_S:
            return best_at - begun, expected - best
        time.sleep(0.02)


def query_latencies(client, load, repeats):
    """Milliseconds of each dashboard query, every query asked in turn, the first round not counted."""
    latencies = {name: [] for name in load.queries()}
    for round_index in range(repeats + 1):
        for name, query in load.queries().items():
            begun = time.perf_counter()
            answer = client.get("/api/v1/query_range", query=query, start=f"{load.query_start_s():.3f}",
                                end=f"{load.end_s:.3f}", step=str(load.interval_s))
            elapsed_ms = (time.perf_counter() - begun) * 1e3
            if round_index == 0 and not answer["data"]["result"]:
                raise Failed(f"query {name} answered nothing: {query}")
            if round_index > 0:
                latencies[name].append(elapsed_ms)
    return latencies
