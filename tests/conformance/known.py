"""Differences between Tidemark and Prometheus that are understood, each with its reason. The list is to stay short."""
import re

# What came to PromQL after the oldest Prometheus that serves as oracle (3.5): its parser refuses it.
NEWER_NAMES = re.compile(r"unknown function with name|unexpected identifier|parse error")
NEWER = re.compile(
    r"\b(first_over_time|ts_of_first_over_time|ts_of_last_over_time|ts_of_max_over_time|ts_of_min_over_time|histogram_quantiles|integral"
    r"|min_of|max_of|start|end|step|range)\s*\(|\b(anchored|smoothed|fill|fill_left|fill_right)\b")


def newer(params, ours, theirs, difference):
    return (difference.kind == "only Prometheus fails" and theirs["errorType"] == "bad_data"
            and NEWER.search(params["query"]) and NEWER_NAMES.search(theirs["error"]))


def ratio(params, ours, theirs, difference):
    return "limit_ratio" in params["query"] and difference.kind in ("series", "timestamps", "values")


RULES = (
    ("newer than this Prometheus", newer),
    ("limit_ratio chooses other series", ratio),
)


def reason(params, ours, theirs, difference):
    """A few words, or None."""
    for text, rule in RULES:
        if rule(params, ours, theirs, difference):
            return text
    return None
