"""A fixed list of queries: every function, operator, aggregation, modifier and literal at least once.

C, G, H, S stand for a counter, a gauge, a classic histogram and a family with NaN and infinities.
"""
import re

from grammar import AGGREGATIONS, ARITHMETIC, COMPARISONS, DATE_FUNCTIONS, HISTOGRAM_FUNCTIONS, MATRIX_FUNCTIONS, SETS, \
    VECTOR_FUNCTIONS

NAMES = {"C": "requests_total", "G": "temperature", "H": "latency_seconds_bucket", "S": "special", "P": "patchy",
         "W": "work_seconds_total", "D": "pods_total", "L": "level", "X": "extreme", "B": "broken_bucket"}

OTHERS = """
1 | -1 | 0x1F | 017 | 1_000 | 1e3 | .5 | 5. | Inf | -Inf | +Inf | NaN | nan | iNf | 5m | 1h30m | 1d | 1.5e-3 | "text" | 'te"xt' | `raw\\n` | "\\u00e9\\x41"
time() | pi() | vector(1) | vector(time()) | scalar(vector(3)) | scalar(G) | scalar(sum(G)) | time() - 5m
G | C{code="404"} | C{code!="404"} | C{code=~"4.*"} | C{code!~"4.*"} | {__name__="bare"} | {"метрика.темп"} | {"метрика.темп", "город"="東京"}
{__name__=~"ba.*"} | bare{} | {job="api"} | {job="api", __name__!="requests_total"} | G{zone=""} | G{none=""} | G{none!="x"}
C[5m] | C[5m] offset 1m | G[1m:15s] | G[5m:] | (G + 1)[5m:1m] | bare[2m] | D[20m] | S[3m]
G offset 5m | G offset -5m | G @ 1600003600 | G @ start() | G @ end() | G @ 1600003600 offset 5m | G offset 5m @ 1600003600 | G @ -1
G @ 1600003600.123 | rate(C[5m] @ 1600003600) | rate(C[5m] @ end() offset 1m) | sum_over_time(G[10m:1m] @ 1600003600) | G @ Inf | G @ NaN
max_over_time(rate(C[1m])[10m:30s]) | max_over_time(rate(C[1m] offset 1m)[10m:30s] offset 3m) | deriv(rate(C[2m])[5m:])
avg_over_time(avg_over_time(G[1m:5s])[5m:30s]) | rate(sum(C)[5m:15s]) | sum_over_time(vector(1)[5m:1m]) | sum_over_time((1)[5m:1m])
clamp(G, 40, 60) | clamp(G, 60, 40) | clamp_min(G, 50) | clamp_max(G, 50) | clamp(S, -1, 1) | clamp_min(S, NaN) | clamp(G, NaN, 1)
round(G) | round(G, 0.1) | round(G, 5) | round(G, -5) | round(G, 0) | round(S) | round(-G, 0.5) | round(X, 1e-3)
sort(G) | sort_desc(G) | sort(S) | sort_desc(S) | sort_by_label(L, "n") | sort_by_label_desc(L, "n") | sort_by_label(C, "code", "instance")
sort_by_label(L, "job", "n") | sort_by_label(L) | sort_by_label_desc(C, "none")
quantile_over_time(0.5, G[5m]) | quantile_over_time(-1, G[5m]) | quantile_over_time(2, G[5m]) | quantile_over_time(NaN, G[5m]) | quantile_over_time(0.3, S[10m])
quantile_over_time(scalar(L{n="1"}) / 4, G[5m]) | predict_linear(G[10m], 3600) | predict_linear(C[10m], -60) | predict_linear(S[10m], 10) | predict_linear(W[1h], 1h)
double_exponential_smoothing(G[10m], 0.5, 0.5) | double_exponential_smoothing(W[1h], 0.1, 0.9) | double_exponential_smoothing(G[10m], 0, 0.5) | double_exponential_smoothing(G[10m], 0.5, 1)
absent(G) | absent(none) | absent(none{a="b", c=~"d"}) | absent(none{a="b", a="c"}) | absent(sum(none)) | absent(G > 1e9) | absent_over_time(none{a="b"}[5m]) | absent_over_time(G[5m]) | absent_over_time(D[1m])
absent({job="none", __name__="x"}) | absent(none{a!="b"}) | absent_over_time((none{a="b"})[5m:1m])
label_replace(G, "new", "$1", "instance", "(.):.*") | label_replace(G, "job", "", "", "") | label_replace(G, "job", "x", "none", "") | label_replace(G, "__name__", "other", "job", ".*")
label_replace(G, "a-b", "$1", "job", "(.*)") | label_replace(G, "job", "x", "", "") | label_replace(G, "job", "$1", "job", "(") | label_replace(G, "", "x", "job", ".*") | label_replace(C, "code", "x", "code", ".*")
label_replace(G, "new", "${name}-$1", "job", "(?P<name>a)(.*)") | label_replace(rate(C[5m]), "__name__", "kept", "", "")
label_join(G, "new", "-", "job", "instance") | label_join(G, "new", "", "none") | label_join(G, "job", ",") | label_join(G, "__name__", "_", "job", "zone") | label_join(G, "new", ",", "job", "none", "zone")
histogram_quantile(0.9, H) | histogram_quantile(0.9, rate(H[5m])) | histogram_quantile(0.5, sum by (le) (rate(H[5m]))) | histogram_quantile(0.5, sum by (job, le) (rate(H[5m])))
histogram_quantile(-1, H) | histogram_quantile(2, H) | histogram_quantile(NaN, H) | histogram_quantile(0, H) | histogram_quantile(1, H) | histogram_quantile(0.9, B) | histogram_quantile(0.2, B{i="4"}) | histogram_quantile(0.5, G)
histogram_quantile(scalar(L{n="1"}) / 4, rate(H[10m])) | histogram_quantile(0.9, latency_seconds_count) | histogram_quantile(0.5, {__name__=~"latency_seconds_bucket|broken_bucket"})
histogram_fraction(0, 0.1, H) | histogram_fraction(0.01, 0.03, rate(H[5m])) | histogram_fraction(-Inf, Inf, H) | histogram_fraction(1, 0, H) | histogram_fraction(NaN, 1, H) | histogram_fraction(0, 1, B)
histogram_quantiles(H, "q", 0.5, 0.9) | integral(G[5m]) | min_of(1, 2) | max_of(1, NaN) | start() | end() | step() | range()
info(C) | info(G) | info(rate(C[5m])) | info(G, {version="1.0"}) | info(G, {rack=~"r.*"}) | info(G, {__name__="target_info"}) | info(G, {none="x"}) | info(bare) | info(G, {version=~".+"}) | sum by (version) (info(G))
timestamp(G) | timestamp(G offset 1m) | timestamp(G + 0) | timestamp(timestamp(G)) | timestamp(slow) | timestamp(-G) | timestamp((G)) | timestamp(G @ 1600003600) | timestamp(vector(1))
topk(2, G) | bottomk(2, G) | topk by (job) (1, G) | bottomk without (instance) (1, G) | topk(0, G) | topk(-1, G) | topk(NaN, G) | topk(1e30, G) | topk(3, P) | sum(topk(2, G)) | topk(1, sum by (job) (G)) | topk(scalar(L{n="1"}), G)
count(limitk(2, C)) | count by (job) (limitk by (job) (2, C)) | limitk(0, G) | limitk(100, G) | limit_ratio(1, G) | limit_ratio(-1, G) | limit_ratio(0, G) | limitk(-1, G) | limit_ratio(2, G) | limit_ratio(NaN, G)
quantile(0.5, G) | quantile by (job) (0.9, G) | quantile(-1, G) | quantile(2, G) | quantile(NaN, G) | quantile(0.5, S) | quantile without (code) (0.75, C) | quantile(scalar(L{n="1"}) / 4, G)
count_values("v", L) | count_values by (job) ("v", L) | count_values("job", L) | count_values("v", S) | count_values without (n) ("n", L) | count_values("bad name", L) | count_values("", L) | count_values("v", X)
sum by (job, code) (rate(C[5m])) | sum without (instance) (C) | sum(C) by (job) | sum by () (C) | sum without () (C) | sum by (none) (C) | sum by (__name__) (C) | sum by ("город") ({"метрика.темп"}) | sum(S) | avg(S) | max(S) | min(S) | stddev(S) | avg(X) | sum(X) | stdvar(X) | group(none) | count(none) | avg by (i) (X) | avg_over_time(X[10m]) | sum_over_time(X[10m]) | stddev_over_time(X[10m])
G + on (instance, job) group_left (version) target_info | C * on (job, instance) group_left target_info | target_info * on (job, instance) group_right (rack) G | C / ignoring (code) group_left sum without (code) (C) | sum without (code) (C) / ignoring (code) group_right C
C / on (job) sum by (job) (C) | C + C | C + G | G + ignoring (zone) G | G == on (job) G | G * on () group_left vector(2) | bare + slow | bare + on () slow | C + on (instance) G | sum(C) / sum(C offset 5m) | C - C offset 1m | rate(C[5m]) > 0.5 | G > bool 50 | 50 < bool G | 50 > G | G > G offset 1m | G > bool G offset 1m | G ^ 2 ^ 0.5 | -G ^ 2 | -1 ^ 2 | 2 ^ -1 | G % 7 | -G % 7 | G % 0 | G / 0 | 0 / 0 | G atan2 10 | S atan2 S | 1 + 2 * 3 - 4 / 5 % 6 ^ 7 | 1 > bool 2 | 2 >= bool 2 | NaN == bool NaN | G == NaN | S == S | S != S
G and G > 50 | G or C | G unless G > 50 | C and on (instance, job) G | C unless on (instance) G{zone="eu"} | G or on (job) C | C and ignoring (code) C{code="200"} | vector(1) or G | none or vector(0) | none and G | G unless none | G and on () vector(1) | (G > 50) or (G < 40) or vector(0) | sum(none) or vector(0) | C and G or L unless P
abs(G) + 1 | {__name__=~"requests_total|temperature"} + 1 | rate({__name__=~"requests_total|pods_total"}[5m]) | abs({__name__=~"bare|slow"}) | sum by (__name__) ({__name__=~"bare|slow|level"}) | {__name__=~"bare|slow"} * 2 | -{__name__=~"bare|slow"} | {__name__=~"bare|slow"} > 0 | {__name__=~"bare|slow"} > bool 0 | last_over_time({__name__=~"bare|slow"}[5m]) | label_replace(-{__name__=~"bare|slow"}, "made", "$1", "__name__", "(.*)")
G fill (0) + G | C + fill_left (1) G | rate(C[5m] anchored) | rate(C[5m] smoothed) | G smoothed | increase(C[5m] anchored)
rate(C[1ms]) | rate(C[15s]) | rate(C[16s]) | rate(C[1y]) | irate(C[1m]) | rate(G[5m]) | rate(W[5m]) | increase(D[10m]) | resets(W[1h]) | changes(S[10m]) | deriv(bare[1s]) | rate(S[10m]) | increase(X[10m]) | rate(slow[10m]) | idelta(S[5m]) | count_over_time(D[10m]) | last_over_time(D[10m]) | present_over_time(D[10m]) | D | count(D)
rate(C[step() * 2]) | rate(C[2m + 1m]) | G offset (1m * 2) | G offset -(1m) | rate(C[max(2m, step())]) | rate(C[5m:1m / 2]) | sum_over_time(G[(2m)]) | rate(C[-5m]) | rate(C[1m - 1m]) | rate(C[0])
( | ) | sum(x | rate(G) | sum() | G[5m | G{ | G{a} | G{a=} | {} | {a=""} | {a=~".*"} | G[5m] + 1 | "a" + 1 | 1 == 2 | G and 1 | topk(G) | topk(G, 1) | nosuch(G) | abs() | abs(G, G) | G offset 5 | G offset x | G @ G | 1 or 2 | G + on(job) and G | sum by (1) (G) | G[5m][5m] | rate(G[5m:1m][1m]) | G{job=~"("} | G{job=~"*"} | 08 | 0x | 1e | 5m5 | G bool + 1 | G + bool 1 | count_values(G) | # only a comment
G # comment | sum ( \t G ) | SUM(G) | Sum By (job) (G) | G AND G | vector(1) ; vector(2) | sum(G),sum(G) | `a` + `b` | G == on() group_left() group_right() G | G{job="api",} | G{,} | sum by (job,) (G) | G{"job"="api"} | {"G", "job"="api"} | G{"x"} | {"temperature", "temperature"} | {job="api", "temperature"}
"""

# The same for families of native histograms, whose name takes the place of I.
NATIVE_NAMES = ("size_bytes", "wait_seconds", "spread", "either_total")
NATIVE_OTHERS = """
I + I | I - I | I * I | I / I | I * 2 | 2 * I | I / 2 | 2 / I | I / 0 | I ^ 2 | I % 2 | I + 1 | I == I | I != I | I > I | I == bool I | I > bool 1 | -I | +I | I atan2 I
I and I | I or I | I unless I | I - I offset 1m | I == I offset 1m | sum(I) | avg(I) | sum by (instance) (I) | min(I) | max(I) | count(I) | group(I) | stddev(I) | stdvar(I)
topk(1, I) | bottomk(1, I) | quantile(0.5, I) | count_values("v", I) | count(limitk(1, I)) | sum(rate(I[5m])) | rate(I[5m]) / 2 | sort(I) | sort_desc(I) | abs(I) | clamp_min(I, 1)
histogram_quantile(0.5, I) | histogram_quantile(0.9, rate(I[5m])) | histogram_quantile(0.1, sum(rate(I[5m]))) | histogram_quantile(-1, I) | histogram_quantile(2, I) | histogram_quantile(NaN, I)
histogram_fraction(0, 1, I) | histogram_fraction(-Inf, 0.2, I) | histogram_fraction(0.2, 0.7, rate(I[5m])) | histogram_fraction(-0.5, Inf, I) | I[1m] | I[5m:1m] | rate(I[5m:15s]) | timestamp(I) | absent(I) | scalar(I)
label_replace(I, "x", "$1", "instance", "(.).*") | I and on () vector(1) | I * on () group_left vector(3) | sum(I) + sum(I) | histogram_count(I) > 5 | quantile_over_time(0.5, I[5m]) | predict_linear(I[5m], 60)
"""


def native_queries():
    out = []
    for name in NATIVE_NAMES:
        for function in HISTOGRAM_FUNCTIONS:
            out += ["%s(%s)" % (function, inner) for inner in (name, "rate(%s[5m])" % name, "sum(%s)" % name, "%s * -1" % name)]
        for function in MATRIX_FUNCTIONS:
            out += ["%s(%s[%s])" % (function, name, window) for window in ("5m", "45s", "20s")]
        out += [re.sub(r"\bI\b", name, query.strip()) for line in NATIVE_OTHERS.strip().splitlines() for query in line.split(" | ")]
    return out


def queries():
    out = []
    for name in VECTOR_FUNCTIONS + DATE_FUNCTIONS + HISTOGRAM_FUNCTIONS:
        out += ["%s(%s)" % (name, inner) for inner in ("G", "S", "X", "C", "G / 60", "rate(C[5m])", "none", "vector(-0.5)",
                                                        "{__name__=~\"bare|slow\"}")]
    for name in DATE_FUNCTIONS:
        out += ["%s()" % name, "%s(vector(1709164800))" % name, "%s(vector(-1))" % name, "%s(vector(NaN))" % name]
    for name in MATRIX_FUNCTIONS:
        out += ["%s(%s)" % (name, inner) for inner in (
            "C[5m]", "G[5m]", "W[20m]", "S[10m]", "X[10m]", "D[15m]", "P[12m]", "bare[1m]", "none[5m]", "H[5m]",
            "rate(C[2m])[10m:1m]", "G[1m] offset 5m", "G[90s] @ 1600003600", "slow[5m]")]
    for name in AGGREGATIONS:
        out += ["%s(%s)" % (name, inner) for inner in ("G", "S", "X", "C", "none", "rate(C[5m])", "D")]
        out += ["%s by (job) (G)" % name, "%s without (instance) (C)" % name, "%s by (i) (W)" % name]
    for op in ARITHMETIC:
        out += ["G %s G" % op, "G %s 3" % op, "3 %s G" % op, "7 %s 2" % op, "S %s S" % op, "S %s X" % op, "X %s 0" % op,
                "C %s on (job, instance) group_left sum by (job, instance) (C)" % op, "C %s ignoring (code) group_left G" % op]
    for op in COMPARISONS:
        out += ["G %s 50" % op, "50 %s G" % op, "G %s bool 50" % op, "G %s bool G offset 1m" % op, "S %s 0" % op, "S %s bool S" % op,
                "7 %s bool 2" % op, "7 %s 2" % op, "G %s on (job) group_right max by (job) (G)" % op,
                "G %s on (job) group_left max by (job) (G)" % op]
    for op in SETS:
        out += ["G %s C" % op, "G %s on (job) C" % op, "G %s ignoring (code, zone) C" % op, "G %s on () none" % op, "D %s D offset 5m" % op]
    for line in OTHERS.strip().splitlines():
        out += [query.strip() for query in line.split(" | ")]
    return [expand(query) for query in out]


def expand(query):
    """Replaces the letters of NAMES where they stand as words of their own outside of quotes."""
    out, word, inside = [], "", None
    for ch in query + " ":
        if ch.isalnum() or ch in "_:":
            word += ch
            continue
        out.append(NAMES.get(word, word) if inside is None else word)
        word = ""
        if inside is None and ch in "\"'`":
            inside = ch
        elif ch == inside:
            inside = None
        out.append(ch)
    return "".join(out)[:-1]
