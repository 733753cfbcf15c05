"""Differences between Tidemark and Prometheus that are understood, each with its reason. The list is to stay short.

Tidemark evaluates the language of Prometheus 3.14; the oracle is 3.5 or newer, so some of it is newer than the oracle.
"""
import math
import re

NOT_PARSED = re.compile(r'parse error: (unknown function with name|unexpected identifier|unexpected "\("|'
                        r"unexpected character in duration expression)")
NEWER = re.compile(
    r"\b(first_over_time|ts_of_first_over_time|ts_of_last_over_time|ts_of_max_over_time|ts_of_min_over_time|histogram_quantiles|integral"
    r"|min_of|max_of|start|end|step|range)\s*\(|\b(anchored|smoothed|fill|fill_left|fill_right)\b")

NATIVE = re.compile(r"\b(size_bytes|size\.bytes|wait_seconds|wait\.seconds|spread|either_total|either\.total)\b")


def newer_language(query, ours, theirs, difference):
    return theirs["status"] == "error" and NEWER.search(query) and NOT_PARSED.search(theirs["error"])


def sort_warning(query, ours, theirs, difference):
    return (difference.kind == "warnings only from Tidemark"
            and all("sort is ineffective for range queries" in text for text in ours["warnings"]))


def fraction(query, ours, theirs, difference):
    return "histogram_fraction" in query and difference.kind in ("values", "series", "timestamps")


def info(query, ours, theirs, difference):
    return re.search(r"\binfo\s*\(", query) and difference.kind in ("series", "timestamps", "values", "only Prometheus fails")


def without_names(answer):
    return {tuple(sorted((k, v) for k, v in series["metric"].items() if k != "__name__"))
            for series in answer["data"]["result"]}


def last_of_subquery(query, ours, theirs, difference):
    return (re.search(r"last_over_time\s*\(", query) and ":" in query and difference.kind == "series"
            and without_names(ours) == without_names(theirs))


def merged_labels(query, ours, theirs, difference):
    return (difference.kind == "only Prometheus fails" and re.search(r"\blabel_(replace|join)\b", query)
            and theirs["error"] == "vector cannot contain metrics with the same labelset")


def colon(query, ours, theirs, difference):
    return difference.kind == "only Tidemark fails" and "expected ':'" in ours["error"]


def reset_conflict(query, ours, theirs, difference):
    return (difference.kind == "warnings only from Tidemark"
            and all("conflicting counter resets during histogram" in text for text in ours["warnings"]))


def histogram_rate(query, ours, theirs, difference):
    return (re.search(r"\b(rate|increase)\s*\(", query) and NATIVE.search(query)
            and difference.kind in ("values", "series", "timestamps"))


def custom_bounds(query, ours, theirs, difference):
    return ("wait" in query and ("incompatible custom buckets" in str(theirs.get("warnings"))
                                 or "incompatible bucket layout" in str(theirs.get("infos"))
                                 or "mismatched custom buckets were reconciled" in str(ours.get("infos"))))


def histogram_equality(query, ours, theirs, difference):
    return NATIVE.search(query) and re.search(r"\bchanges\s*\(|==|!=", query) and difference.kind in ("values", "series", "timestamps")


def label_order(query, ours, theirs, difference):
    names = re.findall(r'"([^"]*)"', query[query.rfind("}"):] if "}" in query else query)
    return ("sort_by_label" in query and difference.kind == "order of a vector"
            and any(name not in series["metric"] for series in ours["data"]["result"] for name in names))


def ratio(query, ours, theirs, difference):
    return "limit_ratio" in query and difference.kind in ("series", "timestamps", "values")


def logarithm(query, ours, theirs, difference):
    return "extreme" in query and difference.kind == "values" and re.search(r"\b(ln|log2|log10)\s*\(", query)


def two_values(difference):
    """The floats that differ; NaN for histograms."""
    ours, _, theirs = difference.detail.rpartition(": ")[2].partition(" | ")
    try:
        return float(ours), float(theirs)
    except ValueError:
        return math.nan, math.nan


def ill_conditioned(query, ours, theirs, difference):
    """Variances of numbers that are large against their differences, and remainders of large numbers."""
    if difference.kind != "values" or not re.search(r"\b(stddev|stdvar)(_over_time)?\b|%", query):
        return False
    a, b = two_values(difference)
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def periodic(query, ours, theirs, difference):
    """The last bit of a power or exponential may be more than a period."""
    return (difference.kind == "values" and re.search(r"\b(sin|cos|tan)\s*\(|%", query)
            and re.search(r"\^|\b(exp|sinh|cosh|extreme)\b", query))


def zero_sign(query, ours, theirs, difference):
    """Of 0 and -0 in a group the first wins, which depends on the order of series, and atan2 and / tell them apart."""
    if difference.kind != "values" or not re.search(r"\batan2\b|/", query):
        return False
    a, b = map(abs, two_values(difference))
    return a == b == math.inf or {a, b} == {0, math.pi}


def hyperbolic(query, ours, theirs, difference):
    return difference.kind == "values" and re.search(r"\b(sinh|cosh)\s*\(", query) and abs(two_values(difference)[1]) == math.inf


def rounded(answer):
    """The label sets, numbers in label values cut to ten digits."""
    def cut(text):
        try:
            return "%.10g" % float(text)
        except ValueError:
            return text
    return {tuple(sorted((k, cut(v)) for k, v in series["metric"].items())) for series in answer["data"]["result"]}


def value_in_label(query, ours, theirs, difference):
    return "count_values" in query and difference.kind == "series" and rounded(ours) == rounded(theirs)


def no_native_histograms(query, ours, theirs, difference):
    return ours["status"] == "error" and re.search(r"function \w+ is not available yet", ours["error"])


RULES = (
    ("newer than 3.5: functions, fill, anchored, smoothed", newer_language),
    ("newer than 3.5: warning about sort in range queries", sort_warning),
    ("newer than 3.5: histogram_fraction from within the first bucket (fixed in #17424)", fraction),
    ("newer than 3.5: info() over series that come and go (fixed in #17135)", info),
    ("newer than 3.5: last_over_time of a subquery keeps no name that is to go", last_of_subquery),
    ("newer than 3.5: label_replace and label_join merge series of disjoint steps", merged_labels),
    ("newer than 3.5: a letter behind a blank in brackets is no colon", colon),
    ("newer than 3.5: warning about conflicting counter resets of histograms", reset_conflict),
    ("newer than 3.5: rates of native histograms are not extrapolated below zero (#16828)", histogram_rate),
    ("newer than 3.5: histograms of other custom bounds are reconciled", custom_bounds),
    ("equality of native histograms depends on empty buckets, hence on Prometheus' chunks", histogram_equality),
    ("sort_by_label: an empty value stands in no order with others", label_order),
    ("last bits amplified: variance of large numbers, remainder", ill_conditioned),
    ("last bits amplified: sine, cosine, tangent, remainder of huge numbers", periodic),
    ("sign of a zero", zero_sign),
    ("Go on amd64: logarithm of subnormal numbers", logarithm),
    ("Go: sinh and cosh are infinite when half of their value would be", hyperbolic),
    ("last bits of a value that count_values makes a label", value_in_label),
    ("limit_ratio chooses other series", ratio),
    ("not yet: functions on native histograms", no_native_histograms),
)


def reason(params, ours, theirs, difference):
    """A few words, or None."""
    for text, rule in RULES:
        if rule(params["query"], ours, theirs, difference):
            return text
    return None
