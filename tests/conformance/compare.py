"""Whether two answers of the query API say the same.

Labels, timestamps and the kind of result must be equal, values within RELATIVE, errors of the same type, and warnings and infos
be there in both or in neither. How exact equal values are is counted: "bits" or "close".
"""
import json
import math
import re

RELATIVE = 1e-10
# Sums in another order leave other rest bits; where all but those cancel, nothing relative can be said.
ABSOLUTE = 1e-12

# Whose result stands in an order that follows from the data; topk of several groups does not.
ORDERED = re.compile(r"\s*((sort|sort_desc|sort_by_label|sort_by_label_desc)\b|(topk|bottomk)\s*\()")


def is_ordered(query):
    """Whether all of the query is one call of those: its first parenthesis is closed by its last character."""
    query = query.strip()
    if not ORDERED.match(query):
        return False
    depth, quote, at = 0, None, query.index("(")
    while at < len(query):
        ch = query[at]
        if quote:
            at += ch == "\\" and quote != "`"
            quote = None if ch == quote else quote
        elif ch in "\"'`":
            quote = ch
        else:
            depth += (ch == "(") - (ch == ")")
            if depth == 0:
                return at == len(query) - 1
        at += 1
    return False


class Difference(Exception):
    """kind: a few words, the same for all differences of a class."""

    def __init__(self, kind, detail=""):
        super().__init__("%s: %s" % (kind, detail))
        self.kind, self.detail = kind, str(detail)


def float_equal(a, b):
    """2: the same bits, 1: close, 0: neither."""
    if a == b:
        return 2  # The text of a float64 is the shortest that reads back: equal texts, equal bits.
    x, y = float(a), float(b)
    if math.isnan(x) or math.isnan(y) or math.isinf(x) or math.isinf(y):
        return 0
    return 1 if abs(x - y) <= max(RELATIVE * max(abs(x), abs(y)), ABSOLUTE) else 0


def histogram_equal(a, b):
    worst = min(float_equal(a["count"], b["count"]), float_equal(a["sum"], b["sum"]))
    # A bucket whose observations cancel but for a rest is shown, an empty one is not.
    left, right = ({tuple(bucket[:3]): bucket[3] for bucket in side.get("buckets") or []} for side in (a, b))
    return min([worst] + [float_equal(left.get(bucket, "0"), right.get(bucket, "0")) for bucket in {*left, *right}])


class Comparison:
    """Of one query; exact is 2 when all values had the same bits."""

    def __init__(self, query, ours, theirs):
        self.query, self.ours, self.theirs = query, ours, theirs
        self.exact = 2
        self.values = self.values_exact = 0
        self.same_texts = True

    def run(self):
        """Raises Difference."""
        ours, theirs = self.ours, self.theirs
        if ours["status"] != theirs["status"]:
            failed = ours if ours["status"] == "error" else theirs
            raise Difference("only %s fails" % ("Tidemark" if failed is ours else "Prometheus"),
                             "%s: %s" % (failed["errorType"], failed["error"]))
        if ours["status"] == "error":
            self.same_texts = ours["error"] == theirs["error"]
            if ours["errorType"] != theirs["errorType"]:
                raise Difference("error type", "%(errorType)s: %(error)s" % ours + " | %(errorType)s: %(error)s" % theirs)
            return
        self.data(ours["data"], theirs["data"])
        for notes in ("warnings", "infos"):
            left, right = ours.get(notes) or [], theirs.get(notes) or []
            if bool(left) != bool(right):
                raise Difference("%s only from %s" % (notes, "Tidemark" if left else "Prometheus"), "; ".join(left or right))
            self.same_texts = self.same_texts and sorted(left) == sorted(right)

    def data(self, ours, theirs):
        kind = ours["resultType"]
        if kind != theirs["resultType"]:
            raise Difference("result type", "%s | %s" % (kind, theirs["resultType"]))
        if kind in ("scalar", "string"):
            self.point(kind == "scalar" and "value" or "string", ours["result"], theirs["result"], "")
            return
        left, right = self.by_labels(ours["result"]), self.by_labels(theirs["result"])
        if left.keys() != right.keys():
            raise Difference("series", "only Tidemark: %s | only Prometheus: %s" % (
                sorted(left.keys() - right.keys())[:4], sorted(right.keys() - left.keys())[:4]))
        if kind == "matrix" and list(left) != list(right):
            raise Difference("order of a matrix", list(left)[:5])
        for labels in left:
            if len(left[labels]) != len(right[labels]):
                raise Difference("equal label sets", labels)
            for a, b in zip(left[labels], right[labels]):
                self.series(a, b, labels)
        if kind == "vector" and is_ordered(self.query):
            self.order(ours["result"], theirs["result"])

    @staticmethod
    def by_labels(result):
        out = {}
        for series in result:
            out.setdefault(json.dumps(series["metric"], sort_keys=True, ensure_ascii=False), []).append(series)
        return out

    def series(self, a, b, labels):
        for field in ("value", "histogram"):
            if (field in a) != (field in b):
                raise Difference("float or histogram", labels)
            if field in a:
                self.point(field, a[field], b[field], labels)
        for field in ("values", "histograms"):
            left, right = a.get(field) or [], b.get(field) or []
            times = [[round(p[0] * 1000) for p in points] for points in (left, right)]
            if times[0] != times[1]:
                raise Difference("timestamps", "%s: only Tidemark %s | only Prometheus %s" % (
                    labels, sorted(set(times[0]) - set(times[1]))[:5], sorted(set(times[1]) - set(times[0]))[:5]))
            for p, q in zip(left, right):
                self.point(field[:-1], p, q, labels)

    def point(self, field, p, q, labels):
        if round(p[0] * 1000) != round(q[0] * 1000):
            raise Difference("timestamps", "%s: %s | %s" % (labels, p[0], q[0]))
        if field == "string":
            if p[1] != q[1]:
                raise Difference("string", "%r | %r" % (p[1], q[1]))
            return
        exact = histogram_equal(p[1], q[1]) if field == "histogram" else float_equal(p[1], q[1])
        self.values += 1
        self.values_exact += exact == 2
        self.exact = min(self.exact, exact)
        if exact == 0:
            raise Difference("values", "%s at %s: %s | %s" % (labels, p[0], p[1], q[1]))

    def order(self, ours, theirs):
        """Equal values may stand in any order."""
        for p, q in zip(ours, theirs):
            if p["metric"] != q["metric"] and ("sort_by" in self.query or "value" not in p
                                               or not float_equal(p["value"][1], q["value"][1])):
                raise Difference("order of a vector", "%s | %s" % (p, q))
