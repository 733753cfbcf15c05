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
# VictoriaMetrics to write out what it holds in memory, the same for all.
SETTLE_S = 15
# How long a server may take to start, and after a kill to answer every sample again, in seconds.
START_S = 300
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


class Load:
    """What is written, and what can be asked about it."""

    def __init__(self, program, options):
        self.program = program
        self.options = options
        self.interval_s = 15
        self.span_s = options.scrapes * self.interval_s
        self.end_s = 0.0

    def samples(self):
        return self.options.series * self.options.scrapes

    def run(self, port):
        """Writes all of it; answers the generator's own account."""
        command = [self.program, "--url", f"http://127.0.0.1:{port}/api/v1/write", "--backdate", "--retry",
                   "--series", str(self.options.series), "--scrapes", str(self.options.scrapes),
                   "--per-request", str(self.options.per_request),
                   "--connections", str(self.options.connections)]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if run.returncode == 2 or not run.stdout.strip():
            raise Failed(f"the load generator failed: {run.stderr.strip()[:300]}")
        result = json.loads(run.stdout.strip().splitlines()[-1])
        if run.returncode != 0:
            print(f"  {run.stderr.strip()[:300]}", file=sys.stderr)
        self.end_s = result["start_ms"] / 1000 + self.span_s
        return result

    def count_query(self, metric):
        # Ranges are open on the left in newer Prometheus: one second more takes the first scrape in.
        return f"sum(count_over_time({metric}[{self.span_s + 1}s]))"

    def queries(self):
        errors = 'sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m]))'
        latency = ("histogram_quantile(0.99, sum by (service, le) "
                   "(rate(http_request_duration_seconds_bucket[5m])))")
        return {"rate by service": "sum by (service) (rate(http_requests_total[5m]))",
                "error ratio": errors, "p99 by service": latency}


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
    """How many samples the server answers. Metric by metric: over several at once Prometheus 2 refuses to drop
    the names, since their series would then be equal."""
    window = {"start": f"{load.end_s - load.span_s:.3f}", "end": f"{load.end_s:.3f}"}
    total = 0
    for metric in client.get("/api/v1/label/__name__/values", **window)["data"]:
        result = client.get("/api/v1/query", query=load.count_query(metric), time=window["end"])["data"]["result"]
        total += int(float(result[0]["value"][1])) if result else 0
    return total


def recover(server, client_of, load, expected):
    """Kills the server and starts it again: seconds until it answers every sample, and how many are gone."""
    server.kill()
    begun = time.monotonic()
    server.start()
    client = client_of()
    best, best_at, failure = 0, time.monotonic(), None
    while True:
        try:
            count = stored_samples(client, load)
        except (OSError, http.client.HTTPException, ValueError, Failed) as error:
            count, client, failure = 0, client_of(), error
        now = time.monotonic()
        if count > best:
            best, best_at = count, now
        # What has not come back after as long again as it took so far, and 10 s, is lost.
        if best >= expected or now - best_at > 10 + (best_at - begun) or now - begun > RECOVER_S:
            break
        time.sleep(0.02)
    if best == 0 and failure is not None:
        raise Failed(f"{server.name} cannot count its samples: {failure}")
    return best_at - begun, expected - best


def query_latencies(ask, load, repeats):
    """Milliseconds of each dashboard query, asked in turn; the first round warms up and is not counted."""
    latencies = {name: [] for name in load.queries()}
    for round_index in range(repeats + 1):
        for name, query in load.queries().items():
            begun = time.perf_counter()
            answer = ask(query)
            elapsed_ms = (time.perf_counter() - begun) * 1e3
            if not answer["data"]["result"]:
                raise Failed(f"query {name} answered nothing: {query}")
            if round_index > 0:
                latencies[name].append(elapsed_ms)
    return latencies


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure_queries(client, load, repeats, figures):
    start_s = max(load.end_s - load.span_s, load.end_s - 3600)

    def instant(query):
        return client.get("/api/v1/query", query=query, time=f"{load.end_s:.3f}")

    def ranged(query):
        return client.get("/api/v1/query_range", query=query, start=f"{start_s:.3f}", end=f"{load.end_s:.3f}",
                          step=str(load.interval_s))

    for name, latencies in query_latencies(instant, load, repeats).items():
        figures[f"{name}, mean ms"] = statistics.fmean(latencies)
        figures[f"{name}, p50 ms"] = percentile(latencies, 0.5)
        figures[f"{name}, p99 ms"] = percentile(latencies, 0.99)
    for name, latencies in query_latencies(ranged, load, max(1, repeats // 10)).items():
        figures[f"{name}, as graph, mean ms"] = statistics.fmean(latencies)


def measure(name, command, always, load, repeats, directory):
    """All figures of one server, in the order of the table."""
    figures = {}
    server = Server(name, command, directory)
    try:
        server.start()
        client = Client(server.port, **always)
        cpu_before = server.cpu_s()
        result = load.run(server.port)
        time.sleep(SETTLE_S)
        acked = result["samples_acked"]
        figures["CPU s per M samples"] = (server.cpu_s() - cpu_before) / acked * 1e6
        figures["samples/s"] = result["samples_per_second"]
        figures["request p99 ms"] = result["latency_p99_ms"]
        figures["peak RSS bytes per series"] = server.memory_peak_bytes() / load.options.series
        figures["disk bytes per sample"] = server.disk_bytes() / acked
        figures["samples not acknowledged"] = load.samples() - acked
        measure_queries(client, load, repeats, figures)
        figures["peak RSS bytes per series, with queries"] = server.memory_peak_bytes() / load.options.series
        seconds, lost = recover(server, lambda: Client(server.port, **always), load, acked)
        figures["s from kill -9 to every sample"] = seconds
        figures["acknowledged samples lost"] = lost
    finally:
        server.stop()
    return figures


def kill_after_load(name, command, always, load, directory):
    """A second run without the settling: kill -9 right after the last acknowledgement."""
    server = Server(name, command, directory)
    try:
        server.start()
        acked = load.run(server.port)["samples_acked"]
        seconds, lost = recover(server, lambda: Client(server.port, **always), load, acked)
    finally:
        server.stop()
    return {"killed at once: s to every sample": seconds, "killed at once: samples lost": lost}


def figure_text(value):
    """Three digits that mean something, never an exponent."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def print_table(all_figures):
    names = list(all_figures)
    first = names[0]
    rows = []
    for key in all_figures[first]:
        cells = [key] + [figure_text(all_figures[n][key]) for n in names]
        for n in names[1:]:
            mine, other = all_figures[first][key], all_figures[n][key]
            cells.append(f"{other / mine:.2f}" if mine > 0 else "-")
        rows.append(cells)
    titles = [""] + names + [f"{n} / {first}" for n in names[1:]]
    widths = [max(len(row[i]) for row in rows + [titles]) for i in range(len(titles))]
    for row in [titles, ["-" * w for w in widths]] + rows:
        print("| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w)
                                for i, (c, w) in enumerate(zip(row, widths))) + " |")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, prog="compare.sh", epilog="--install-peers first installs "
                                     "the Debian packages of the peers.")
    parser.add_argument("--series", type=int, default=100000)
    parser.add_argument("--scrapes", type=int, default=120)
    parser.add_argument("--per-request", type=int, default=2000, help="samples in one request")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=50, help="of each query")
    parser.add_argument("--only", action="append", metavar="NAME", help="tidemark, prometheus or victoria-metrics")
    parser.add_argument("--build", default="build/release/bin", help="where tidemark and tidemark-load are")
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    return parser.parse_args()


def main():
    options = parse_options()
    generator = os.path.join(options.build, "tidemark-load")
    if shutil.which(generator) is None:
        sys.exit(f"no {generator}; build it with scripts/build.sh")
    load = Load(generator, options)
    all_figures = {}
    work = tempfile.mkdtemp(prefix="tidemark-compare-")
    try:
        for name, command, always in programs(options.build):
            if options.only and name not in options.only:
                continue
            print(f"{name} …", file=sys.stderr)
            try:
                figures = {}
                for step, run in (("settled", lambda d: measure(name, command, always, load, options.repeats, d)),
                                  ("killed", lambda d: kill_after_load(name, command, always, load, d))):
                    directory = os.path.join(work, f"{name}-{step}")
                    os.mkdir(directory)
                    with open(os.path.join(directory, "prometheus.yml"), "w") as f:
                        f.write("global: {}\n")
                    figures.update(run(directory))
                    if not options.keep:
                        shutil.rmtree(directory)
                all_figures[name] = figures
            except (Failed, OSError, http.client.HTTPException, KeyError, ValueError) as failure:
                print(f"{name}: {failure}", file=sys.stderr)
    finally:
        if options.keep:
            print(f"data kept in {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)
    if not all_figures:
        sys.exit("nothing was measured")
    print(f"\n{options.series:,} series x {options.scrapes} scrapes, {options.per_request:,} samples a request, "
          f"{options.connections} connections, {os.cpu_count()} processors\n")
    print_table(all_figures)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(all_figures, f, indent=2)


if __name__ == "__main__":
    main()
