"""Runs a Tidemark process for a test and talks to it: remote_write bodies, queries, metrics. Standard library only."""
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse

PROGRAM = os.environ.get("TIDEMARK", "build/release/bin/tidemark")
STALE_BITS = 0x7FF0000000000002

V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


# ---- Protocol buffers and Snappy, as far as remote_write needs them ----

def varint(n):
    n &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field_bytes(number, data):
    if isinstance(data, str):
        data = data.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def field_varint(number, n):
    return varint(number << 3) + varint(n)


def field_double(number, value):
    """value: a float, or an int that is the 64 bits."""
    bits = value if isinstance(value, int) else struct.unpack("<Q", struct.pack("<d", value))[0]
    return varint(number << 3 | 1) + struct.pack("<Q", bits)


def snappy(data):
    """A valid Snappy block of literals only."""
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def v1_labels(labels):
    return b"".join(field_bytes(1, field_bytes(1, name) + field_bytes(2, value)) for name, value in labels)


def field_signed(number, n):
    return varint(number << 3) + varint(n << 1 ^ n >> 63)


def histogram(ms, count, total, schema=0, zero=(0, 0), positive=(), negative=(), custom=(), reset=0, integers=True):
    """One Histogram record. zero: (count, threshold); positive, negative: runs of buckets, (first index, counts)."""
    number = field_varint if integers else field_double
    out = number(1 if integers else 2, count if integers else float(count)) + field_double(3, total)
    out += field_signed(4, schema) + field_double(5, float(zero[1]))
    out += number(6, zero[0]) if integers else field_double(7, float(zero[0]))
    for runs, field in ((negative, 8), (positive, 11)):
        before, end, packed = 0, 0, b""
        for first, counts in runs:
            out += field_bytes(field, field_signed(1, first - end) + field_varint(2, len(counts)))
            end = first + len(counts)
            for n in counts:
                delta = int(n) - before
                packed += varint(delta << 1 ^ delta >> 63) if integers else struct.pack("<d", n)
                before = int(n)
        if packed:
            out += field_bytes(field + (1 if integers else 2), packed)
    out += field_varint(14, reset) + field_varint(15, ms)
    return out + (field_bytes(16, struct.pack("<%dd" % len(custom), *custom)) if custom else b"")


def v1_series(labels, samples, exemplars=(), histograms=()):
    """labels: dict (sorted here) or list of pairs (as given); samples: (ms, value); exemplars: (labels, value, ms);
    histograms: records."""
    pairs = sorted(labels.items()) if isinstance(labels, dict) else labels
    out = v1_labels(pairs)
    for ms, value in samples:
        out += field_bytes(2, field_double(1, value) + field_varint(2, ms))
    for exemplar_labels, value, ms in exemplars:
        out += field_bytes(3, v1_labels(sorted(exemplar_labels.items())) + field_double(2, value) + field_varint(3, ms))
    for record in histograms:
        out += field_bytes(4, record)
    return field_bytes(1, out)


def v1_metadata(metric, kind, help_text, unit=""):
    return field_bytes(3, field_varint(1, kind) + field_bytes(2, metric) + field_bytes(4, help_text)
                       + field_bytes(5, unit))


def v2_request(series):
    """series: list of (labels dict, samples, exemplars, (kind, help, unit) or None), and histogram records if any."""
    symbols = {"": 0}

    def ref(text):
        return symbols.setdefault(text, len(symbols))

    def refs(labels):
        return b"".join(varint(ref(text)) for pair in sorted(labels.items()) for text in pair)

    body = b""
    for labels, samples, exemplars, metadata, *histograms in series:
        out = field_bytes(1, refs(labels))
        for record in histograms:
            out += field_bytes(3, record)
        for ms, value in samples:
            out += field_bytes(2, field_double(1, value) + field_varint(2, ms))
        for exemplar_labels, value, ms in exemplars:
            out += field_bytes(4, field_bytes(1, refs(exemplar_labels)) + field_double(2, value) + field_varint(3, ms))
        if metadata:
            kind, help_text, unit = metadata
            out += field_bytes(5, field_varint(1, kind) + field_varint(3, ref(help_text)) + field_varint(4, ref(unit)))
        body += field_bytes(5, out)
    return b"".join(field_bytes(4, text) for text in symbols) + body


# ---- The process ----

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%d %r>" % (self.status, self.body[:300])


class Tidemark:
    """One process on a data directory. start() again after kill() goes on with the same data."""

    def __init__(self, data_dir=None, config=None, args=()):
        self.own_dir = None
        if data_dir is None:
            self.own_dir = data_dir = tempfile.mkdtemp(prefix="tidemark-test-")
        self.data_dir = data_dir
        self.port = free_port()
        self.args = list(args)
        self.process = None
        # Beside nothing of the data: a test may fill that disk.
        self.side = tempfile.mkdtemp(prefix="tidemark-test-side-")
        self.log_path = self.side + "/log"
        self.config_path = None
        if config is not None:
            self.config_path = self.side + "/config.yaml"
            with open(self.config_path, "w") as f:
                f.write(config)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def command(self):
        config = ["--config", self.config_path] if self.config_path else []
        return [PROGRAM, "run", "--data-dir", self.data_dir, "--http-listen", "127.0.0.1:%d" % self.port,
                *config, *self.args]

    def start(self, timeout=60):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("tidemark ended with %s:\n%s" % (self.process.returncode, self.log()))
            try:
                if self.get("/-/healthy").status == 200:
                    return self
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("tidemark does not answer:\n" + self.log())

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()[-4000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=60):
        """SIGTERM; answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for folder in (self.side, self.own_dir):
            if folder:
                shutil.rmtree(folder, ignore_errors=True)

    # ---- Requests ----

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, path, tenant=None, **params):
        pairs = [(k.replace("match", "match[]"), v) for k, vs in params.items()
                 for v in (vs if isinstance(vs, list) else [vs])]
        query = "?" + urllib.parse.urlencode(pairs) if pairs else ""
        return self.request("GET", path + query, headers={"X-Scope-OrgID": tenant} if tenant else None)

    def write(self, body, content_type=V1, encoding="snappy", tenant=None, compress=True, path="/api/v1/write"):
        headers = {"Content-Type": content_type, "Content-Encoding": encoding}
        if tenant:
            headers["X-Scope-OrgID"] = tenant
        headers = {k: v for k, v in headers.items() if v is not None}
        return self.request("POST", path, body=snappy(body) if compress else body, headers=headers)

    def query(self, query, at, tenant=None, **params):
        """The result list of an instant query; raises on an error."""
        reply = self.get("/api/v1/query", tenant=tenant, query=query, time=at, **params)
        if reply.status != 200:
            raise RuntimeError("%s: %r" % (query, reply))
        return reply.json()["data"]["result"]

    def metrics(self):
        out = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                out[name] = float(value)
        return out
