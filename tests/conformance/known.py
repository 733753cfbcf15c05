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


NEWER_WARNINGS = ("sort is ineffective for range queries", "conflicting counter resets during histogram")


def newer_warning(query, ours, theirs, difference):
    return (difference.kind == "warnings only from Tidemark"
            and all(any(newer in text for newer in NEWER_WARNINGS) for text in ours["warnings"]))


def fraction(query, ours, theirs, difference):
    return "histogram_fraction" in query and difference.kind in ("values", "series", "timestamps", "only Prometheus fails")


def info(query, ours, theirs, difference):
    return re.search(r"\binfo\s*\(", query) and difference.kind in ("series", "timestamps", "values", "only Prometheus fails")


def without_names(answer):
    return {tuple(sorted((k, v) for k, v in series["metric"].items() if k != "__name__"))
            for series in answer["data"]["result"]}


def last_of_subquery(query, ours, theirs, difference):
    return (re.search(r"last_over_time\s*\(", query) and ":" in query and difference.kind == "series"
            and without_names(ours) == without_names(theirs))


def name_of_either(query, ours, theirs, difference):
    return re.search(r"\bor\b", query) and difference.kind == "series" and without_names(ours) == without_names(theirs)


def merged_labels(query, ours, theirs, difference):
    return (difference.kind == "only Prometheus fails" and re.search(r"\blabel_(replace|join)\b", query)
            and theirs["error"] == "vector cannot contain metrics with the same labelset")


def colon(query, ours, theirs, difference):
    return difference.kind == "only Tidemark fails" and "expected ':'" in ours["error"]


def histogram_rate(query, ours, theirs, difference):
    return (re.search(r"\b(rate|increase)\s*\(", query) and NATIVE.search(query)
            and difference.kind in ("values", "series", "timestamps"))


def custom_bounds(query, ours, theirs, difference):
    return ("wait" in query and ("incompatible custom buckets" in str(theirs.get("warnings"))
                                 or "incompatible bucket layout" in str(theirs.get("warnings"))
                                 or "mismatched custom buckets were reconciled" in str(ours.get("infos"))))


def empty_buckets(query, ours, theirs, difference):
    """Comparisons, products with NaN, and quantiles where counts are negative."""
    return (NATIVE.search(query) and difference.kind in ("values", "series", "timestamps", "infos only from Prometheus")
            and re.search(r"\bchanges\s*\(|==|!=|histogram_quantile\s*\([^,]*, *-|NaN", query + difference.detail))


def natural(text):
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[0-9]+|[^0-9]+", text))


def label_order(query, ours, theirs, difference):
    """An empty value, and values of the same digits but for zeros ("0.1", "0.01"), each come before the other."""
    if "sort_by_label" not in query or difference.kind != "order of a vector":
        return False
    for name in re.findall(r'"([^"]*)"', query[query.rfind("}"):] if "}" in query else query):
        values = {series["metric"].get(name, "") for series in ours["data"]["result"]}
        if ("" in values and len(values) > 1) or len({natural(value) for value in values}) < len(values):
            return True
    return False


def ratio(query, ours, theirs, difference):
    return "limit_ratio" in query and difference.kind in ("series", "timestamps", "values")


def logarithm(query, ours, theirs, difference):
    return "extreme" in query and difference.kind == "values" and re.search(r"\b(ln|log2|log10)\s*\(|\^", query)


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
            and re.search(r"\^|\b(exp|sinh|cosh|extreme|time)\b", query))


def at_a_border(query, ours, theirs, difference):
    """A last bit decides a comparison or which whole number is next."""
    if difference.kind != "values" or not re.search(r"\b(bool|floor|ceil|round)\b", query):
        return False
    a, b = two_values(difference)
    return abs(a - b) == 1 and bool(re.search(r"\^|\b(stddev|stdvar|avg|exp|ln|log2|log10|sin|cos|tan|a?(sin|cos|tan)h?)\b", query))


def zero_sign(query, ours, theirs, difference):
    """Of 0 and -0 in a group the first wins, which depends on the order of series, and atan2 and / tell them apart."""
    if difference.kind != "values" or not re.search(r"\batan2\b|/", query):
        return False
    a, b = map(abs, two_values(difference))
    return a == b == math.inf or {a, b} == {0, math.pi}


def timestamp_at(query, ours, theirs, difference):
    return (re.search(r"\btimestamp\s*\(", query) and "@" in query and "offset" in query
            and difference.kind in ("values", "series", "timestamps"))


def hyperbolic(query, ours, theirs, difference):
    return difference.kind == "values" and re.search(r"\b(sinh|cosh)\s*\(", query) and abs(two_values(difference)[1]) == math.inf


def rounded(answer):
    """The label sets, numbers in label values cut to ten digits."""
    def cut(text):
        return re.sub(r"\d+(\.\d+)?(e[+-]\d+)?", lambda number: "%.10g" % float(number.group()), text)
    return {tuple(sorted((k, cut(v)) for k, v in series["metric"].items())) for series in answer["data"]["result"]}


def value_in_label(query, ours, theirs, difference):
    return "count_values" in query and difference.kind == "series" and rounded(ours) == rounded(theirs)


def no_native_histograms(query, ours, theirs, difference):
    return ours["status"] == "error" and re.search(r"function \w+ is not available yet", ours["error"])


RULES = (
    ("newer than 3.5: functions, fill, anchored, smoothed", newer_language),
    ("newer than 3.5: warnings about sort in range queries and conflicting counter resets", newer_warning),
    ("newer than 3.5: histogram_fraction from within the first bucket (fixed in #17424)", fraction),
    ("newer than 3.5: info() over series that come and go (fixed in #17135)", info),
    ("newer than 3.5: last_over_time of a subquery keeps no name that is to go", last_of_subquery),
    ("newer than 3.5: names among the sides of `or`, where one is to go", name_of_either),
    ("newer than 3.5: label_replace and label_join merge series of disjoint steps", merged_labels),
    ("newer than 3.5: a letter behind a blank in brackets is no colon", colon),
    ("newer than 3.5: rates of native histograms are not extrapolated below zero (#16828)", histogram_rate),
    ("newer than 3.5: histograms of other custom bounds are reconciled", custom_bounds),
    ("empty buckets of native histograms are there or not, depending on Prometheus' chunks", empty_buckets),
    ("sort_by_label: Prometheus has no order among these values", label_order),
    ("last bits amplified: variance of large numbers, remainder", ill_conditioned),
    ("last bits amplified: sine, cosine, tangent, remainder of huge numbers", periodic),
    ("last bits amplified: a comparison or the next whole number", at_a_border),
    ("sign of a zero", zero_sign),
    ("Go on amd64: logarithm and power of subnormal numbers", logarithm),
    ("Prometheus: timestamp(x @ t offset d) looks at t, among samples of t - d", timestamp_at),
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
