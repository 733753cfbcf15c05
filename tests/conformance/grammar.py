"""Random PromQL queries that mostly type check, from a seed and the families of a data set."""
import random

from dataset import END_MS, SPAN_MS, START_MS

MATRIX_FUNCTIONS = (
    "rate", "increase", "delta", "irate", "idelta", "resets", "changes", "deriv", "avg_over_time", "sum_over_time",
    "min_over_time", "max_over_time", "count_over_time", "stddev_over_time", "stdvar_over_time", "last_over_time",
    "first_over_time", "present_over_time", "absent_over_time", "mad_over_time", "ts_of_first_over_time",
    "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time")
COUNTER_FUNCTIONS = ("rate", "increase", "irate", "resets", "changes", "increase", "rate")
VECTOR_FUNCTIONS = (
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "deg", "rad", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "timestamp", "absent", "round")
DATE_FUNCTIONS = ("minute", "hour", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "month", "year")
HISTOGRAM_FUNCTIONS = ("histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar")
AGGREGATIONS = ("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar")
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
SETS = ("and", "or", "unless")
DURATIONS = ("1s", "15s", "29s", "1m", "90s", "3m", "5m", "7m30s", "15m", "1h", "350ms", "300")


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def plain(name):
    return name.isascii() and name.replace("_", "a").replace(":", "a").isalnum() and not name[0].isdigit()


class Grammar:
    """unsupported: names of functions and forms ("duration_functions", ...) that the oracle does not know."""

    def __init__(self, seed, families, unsupported=()):
        self.random = random.Random(seed)
        self.families = families
        self.label_names = sorted({name for family in families for name in family.labels})
        self.unsupported = set(unsupported)
        self.family = None  # That of the selector chosen last.

    # ---- Choosing ----

    def chance(self, p):
        return self.random.random() < p

    def pick(self, items):
        return self.random.choice(items)

    def known(self, names):
        return [name for name in names if name not in self.unsupported]

    # ---- Leaves ----

    def number(self):
        return self.pick(("0", "1", "2", "3", "10", "0.5", "-1", "1e3", "0x1f", ".25", "1_000", "100", "Inf", "-Inf", "NaN",
                          "5m", "1e-3", "7", "1.5"))

    def duration(self):
        if "duration_arithmetic" not in self.unsupported and self.chance(0.05):
            return self.pick(("1m * 3", "(2m + 30s)", "10m / 4", "2m ^ 1", "5m % 2m", "7m - 90", "-(-2m)"))
        if "duration_functions" not in self.unsupported and self.chance(0.03):
            return self.pick(("step()", "step() * 2", "max(step(), 2m)", "min(5m, step() * 10)"))
        return self.pick(DURATIONS)

    def modifiers(self):
        out = ""
        if self.chance(0.12):
            out += " offset " + self.pick(("", "", "-")) + self.pick(DURATIONS[:10])
        if self.chance(0.12):
            at = self.pick(("start()", "end()", "%.3f" % ((START_MS + self.random.randrange(SPAN_MS)) / 1000)))
            out = out + " @ " + at if self.chance(0.5) else " @ " + at + out
        return out

    def matcher(self, name, values):
        op = self.pick(("=", "=", "!=", "=~", "!~"))
        values = list(values) or [""]
        if op in ("=", "!="):
            value = self.pick(values + ["", "none"])
        else:
            value = self.pick((".*", ".+", "", "[a-z].*", "|".join(v.replace("\\", ".") for v in values[:2]), ".*1",
                               self.pick(values)[:1] + ".*", "(?i:A.*|P.*)", "[^0-9]+", "\\\\d+|web"))
            return "%s%s%s" % (self.label(name), op, '"' + value.replace('"', '\\"').replace("\n", "\\n") + '"')
        return "%s%s%s" % (self.label(name), op, quote(value))

    @staticmethod
    def label(name):
        return name if plain(name) else quote(name)

    def selector(self, kinds=None):
        """Without modifiers. Sets self.family."""
        families = [f for f in self.families if kinds is None or f.kind in kinds] or self.families
        family = self.family = self.pick(families)
        matchers = []
        for name, values in family.labels.items():
            if self.chance(0.25):
                matchers.append(self.matcher(name, values))
        if self.chance(0.02):
            matchers.append(self.matcher("absent_label", ("x",)))
        roll = self.random.random()
        if roll < 0.02:
            names = '__name__=~"%s|%s"' % (family.name.replace("_", "."), self.pick(self.families).name)
            return "{" + ",".join([names, *matchers]) + "}"
        if roll < 0.03:
            return "no_such_metric"
        if not plain(family.name):
            return "{" + ", ".join([quote(family.name), *matchers]) + "}"
        return family.name + ("{" + ", ".join(matchers) + "}" if matchers or self.chance(0.05) else "")

    # ---- Types ----

    def scalar(self, depth=1):
        roll = self.random.random()
        if depth <= 0 or roll < 0.6:
            return self.number()
        if roll < 0.7:
            return "time()"
        if roll < 0.75:
            return "pi()"
        if roll < 0.85:
            return "scalar(%s)" % self.vector(depth - 1)
        if roll < 0.95:
            return "(%s %s %s)" % (self.scalar(depth - 1), self.pick(ARITHMETIC), self.scalar(depth - 1))
        return "(%s %s bool %s)" % (self.scalar(depth - 1), self.pick(COMPARISONS), self.scalar(depth - 1))

    def matrix(self, depth, kinds=None):
        if depth > 0 and self.chance(0.15):
            inner = self.vector(depth - 1)
            step = self.pick(("", "15s", "1m", "37s", "2m"))
            return "(%s)[%s:%s]%s" % (inner, self.pick(DURATIONS[3:9]), step, self.modifiers())
        return "%s[%s]%s" % (self.selector(kinds), self.duration(), self.modifiers())

    def grouping(self):
        if self.chance(0.3):
            return ""
        labels = list(self.family.labels) if self.family and self.family.labels else self.label_names
        chosen = self.random.sample(labels, min(len(labels), self.random.randrange(3)))
        if self.chance(0.05):
            chosen.append("__name__")
        return "%s (%s) " % (self.pick(("by", "without")), ", ".join(self.label(name) for name in chosen))

    def vector(self, depth):
        if depth <= 0:
            return self.selector() + self.modifiers()
        return self.pick((self.range_call,) * 6 + (self.vector_call,) * 3 + (self.aggregation,) * 6 + (self.choosing,) * 2
                         + (self.binary_scalar,) * 3 + (self.binary_vector,) * 4 + (self.set_operation,) * 2
                         + (self.histogram,) * 2 + (self.labels_call, self.date_call, self.sign, self.parentheses,
                                                    self.from_scalar, self.leaf, self.leaf))(depth - 1)

    def leaf(self, _):
        return self.selector() + self.modifiers()

    def parentheses(self, depth):
        return "(%s)" % self.vector(depth)

    def sign(self, depth):
        return self.pick("-+") + self.vector(depth)

    def from_scalar(self, depth):
        return "vector(%s)" % self.scalar(depth)

    def range_call(self, depth):
        roll = self.random.random()
        if roll < 0.08:
            return "quantile_over_time(%s, %s)" % (self.pick(("0.5", "0.9", "0", "1", "-0.1", "1.1", "NaN", self.scalar(depth))),
                                                   self.matrix(depth))
        if roll < 0.14:
            return "predict_linear(%s, %s)" % (self.matrix(depth), self.pick(("60", "3600", "-10", self.scalar(depth))))
        if roll < 0.18 and "double_exponential_smoothing" not in self.unsupported:
            return "double_exponential_smoothing(%s, %s, %s)" % (
                self.matrix(depth), self.pick(("0.1", "0.5", "0.9")), self.pick(("0.1", "0.5", "0.99")))
        if roll < 0.5:
            return "%s(%s)" % (self.pick(COUNTER_FUNCTIONS), self.matrix(depth, ("counter", "bucket")))
        return "%s(%s)" % (self.pick(self.known(MATRIX_FUNCTIONS)), self.matrix(depth))

    def vector_call(self, depth):
        roll = self.random.random()
        if roll < 0.1:
            return "clamp(%s, %s, %s)" % (self.vector(depth), self.scalar(depth), self.scalar(depth))
        if roll < 0.2:
            return "%s(%s, %s)" % (self.pick(("clamp_min", "clamp_max", "round")), self.vector(depth), self.scalar(depth))
        if roll < 0.3:
            return "%s(%s)" % (self.pick(("sort", "sort_desc")), self.vector(depth))
        if roll < 0.35 and "sort_by_label" not in self.unsupported:
            return "%s(%s, %s)" % (self.pick(("sort_by_label", "sort_by_label_desc")), self.vector(depth),
                                   quote(self.pick(self.label_names)))
        return "%s(%s)" % (self.pick(VECTOR_FUNCTIONS), self.vector(depth))

    def date_call(self, depth):
        return "%s(%s)" % (self.pick(DATE_FUNCTIONS), self.pick(("", "vector(time())", self.vector(depth))))

    def histogram(self, depth):
        roll = self.random.random()
        native = any(family.kind == "native" for family in self.families)
        if roll < (0.6 if native else 0.1):
            return self.native(depth)
        roll = self.random.random()
        name = self.pick(("latency_seconds_bucket", "latency_seconds_bucket", "broken_bucket"))
        inner = "%s[%s]%s" % (name, self.duration(), self.modifiers())
        inner = self.pick(("rate(%s)", "increase(%s)", "sum by (le) (rate(%s))", "sum by (job, le) (rate(%s))",
                           "sum without (instance) (rate(%s))")) % inner if self.chance(0.7) else name + self.modifiers()
        if roll < 0.3:
            return "histogram_fraction(%s, %s, %s)" % (self.pick(("0", "-Inf", "0.02", "0.1", "NaN")),
                                                       self.pick(("0.1", "0.3", "1", "Inf", "0.01")), inner)
        return "histogram_quantile(%s, %s)" % (self.pick(("0.5", "0.9", "0.99", "0", "1", "-1", "2", "NaN", self.scalar(depth))),
                                               inner)

    def native(self, depth):
        """Functions on native histograms, mostly of such."""
        selector = self.selector(("native",))
        inner = self.pick(("%s", "rate(%s[5m])", "increase(%s[3m])", "sum(%s)", "avg by (job) (%s)", "sum(rate(%s[5m]))",
                           "%s * 2", "avg_over_time(%s[2m])", "sum_over_time(%s[2m])", "last_over_time(%s[2m])",
                           "idelta(%s[2m])", "irate(%s[2m])", "delta(%s[2m])", "-%s", "%s - %s", "%s + %s")).replace("%s", selector)
        inner = inner if self.chance(0.8) else self.vector(depth)
        roll = self.random.random()
        if roll < 0.3:
            return "histogram_quantile(%s, %s)" % (self.pick(("0.5", "0.9", "0", "1", "-1", "2", "NaN", "0.01")), inner)
        if roll < 0.45:
            return "histogram_fraction(%s, %s, %s)" % (self.pick(("0", "-Inf", "0.2", "-0.5")), self.pick(("1", "Inf", "0.3")), inner)
        if roll < 0.8:
            return "%s(%s)" % (self.pick(HISTOGRAM_FUNCTIONS), inner)
        return inner

    def labels_call(self, depth):
        inner = self.vector(depth)
        names = list(self.family.labels) if self.family and self.family.labels else ["job"]
        source, target = self.pick(names + ["__name__"]), self.pick(("made", "job", "__name__", "i"))
        if self.chance(0.6):
            return "label_replace(%s, %s, %s, %s, %s)" % (
                inner, quote(target), self.pick(('"$1"', '"x-$1"', '""', '"$0$1"', '"${1}s"', '"$name"')), quote(source),
                self.pick(('"(.*)"', '"([a-z]).*"', '"(.).*(.)"', '"none"', '""', '"(?P<name>.*)"')))
        return "label_join(%s, %s, %s, %s)" % (inner, quote(target), self.pick(('","', '""', '"-"')),
                                              ", ".join(quote(n) for n in self.random.sample(names, min(2, len(names)))))

    def aggregation(self, depth):
        inner = self.vector(depth)
        grouping = self.grouping()
        roll = self.random.random()
        if roll < 0.12:
            return "quantile %s(%s, %s)" % (grouping, self.pick(("0.5", "0.1", "1", "0", "-1", "2", "NaN", self.scalar(depth))), inner)
        if roll < 0.18:
            return "count_values %s(%s, %s)" % (grouping, self.pick(('"v"', '"job"', '"value"')), inner)
        name = self.pick(AGGREGATIONS)
        if self.chance(0.3):
            return "%s(%s) %s" % (name, inner, grouping)
        return "%s %s(%s)" % (name, grouping, inner)

    def choosing(self, depth):
        """topk and its like; what is chosen must follow from the data alone, not from the order of series."""
        roll = self.random.random()
        if roll < 0.15:
            inner = self.vector(depth)
            grouping = self.grouping()
            return "count %s(limitk %s(%s, %s))" % (grouping, grouping, self.pick("0123"), inner)
        kinds = [f for f in self.families if f.distinct and f.kind == "gauge"]
        family = self.family = self.pick(kinds)
        inner = family.name if plain(family.name) else "{%s}" % quote(family.name)
        if self.chance(0.4):
            inner = self.pick(("avg_over_time(%s[5m])", "abs(%s)", "sum_over_time(%s[90s])", "-%s", "%s + 1")) % inner
        return "%s %s(%s, %s)" % (self.pick(("topk", "bottomk")), self.grouping(), self.pick(("1", "2", "3", "0", "100", "-1")),
                                  inner)

    def binary_scalar(self, depth):
        op = self.pick(ARITHMETIC + COMPARISONS)
        modifier = " bool" if op in COMPARISONS and self.chance(0.4) else ""
        sides = [self.operand(depth), self.scalar(depth)]
        self.random.shuffle(sides)
        return "%s %s%s %s" % (sides[0], op, modifier, sides[1])

    def operand(self, depth):
        text = self.vector(depth)
        return text if self.chance(0.5) else "(%s)" % text

    def binary_vector(self, depth):
        op = self.pick(ARITHMETIC + COMPARISONS)
        modifier = " bool" if op in COMPARISONS and self.chance(0.4) else ""
        roll = self.random.random()
        left = self.operand(depth)
        names = list(self.family.labels) if self.family and self.family.labels else self.label_names
        if roll < 0.3:
            # The same series on both sides: matches without any modifier.
            inner = self.selector()
            return "%s %s%s %s" % (self.pick(("%s", "rate(%s[5m])", "%s offset 5m")) % inner, op, modifier,
                                   self.pick(("%s", "avg_over_time(%s[10m])", "(%s offset 1m)")) % inner)
        if roll < 0.6:
            inner = self.selector()
            names = list(self.family.labels) or ["job"]
            keep = ", ".join(self.label(n) for n in self.random.sample(names, min(len(names), self.random.randrange(1, 3))))
            extra = self.pick(("", "", self.label(self.pick(names))))
            if self.chance(0.5):
                return "%s %s%s on (%s) group_left (%s) sum by (%s) (%s)" % (inner, op, modifier, keep, extra, keep, inner)
            return "max by (%s) (%s) %s%s on (%s) group_right (%s) %s" % (keep, inner, op, modifier, keep, extra, inner)
        matching = ""
        if self.chance(0.7):
            chosen = self.random.sample(names, min(len(names), self.random.randrange(3)))
            matching = " %s (%s)" % (self.pick(("on", "ignoring")), ", ".join(self.label(n) for n in chosen))
            if self.chance(0.3):
                matching += self.pick((" group_left", " group_right", " group_left ()", " group_right (job)"))
        return "%s %s%s%s %s" % (left, op, modifier, matching, self.operand(depth))

    def set_operation(self, depth):
        left = self.operand(depth)
        names = list(self.family.labels) if self.family and self.family.labels else self.label_names
        matching = ""
        if self.chance(0.5):
            chosen = self.random.sample(names, min(len(names), self.random.randrange(3)))
            matching = " %s (%s)" % (self.pick(("on", "ignoring")), ", ".join(self.label(n) for n in chosen))
        return "%s %s%s %s" % (left, self.pick(SETS), matching, self.operand(depth))

    # ---- Whole queries ----

    def broken(self):
        """Of a wrong type, or no query at all."""
        text = self.vector(2)
        roll = self.random.random()
        if roll < 0.4 and len(text) > 2:
            at = self.random.randrange(len(text))
            return text[:at] + self.pick(("", "(", ")", "{", "}", "[", "]", ",", "by", "5", '"', "+", " ", "=")) + text[at + 1:]
        return self.pick(("rate(%s)", "%s[5m] + 1", "sum(%s[5m])", "scalar(1)", "%s and 1", "topk(%s, 1)", "%s == \"a\"",
                          "1 == 2", "absent(%s[5m])", "%s offset", "histogram_quantile(%s)", "count_values(1, %s)",
                          "vector(%s)", "%s or bool %s", "label_replace(%s, \"\", \"\", \"\", \"(\")")).replace("%s", text)

    def query(self):
        roll = self.random.random()
        if roll < 0.04:
            return self.broken()
        if roll < 0.07:
            return self.scalar(3)
        if roll < 0.09:
            return self.matrix(2)
        return self.vector(self.pick((1, 2, 2, 3, 3, 4)))

    def instant(self):
        return {"query": self.query(), "time": "%.3f" % (self.moment() / 1000)}

    def range(self):
        step = self.pick((1000, 15000, 15000, 30000, 60000, 61003, 300000, 7))
        count = self.random.randrange(1, 25)
        start = self.moment()
        return {"query": self.query(), "start": "%.3f" % (start / 1000), "end": "%.3f" % ((start + count * step) / 1000),
                "step": "%.3f" % (step / 1000)}

    def moment(self):
        """Mostly within the data, sometimes around its ends; on scrape times and between them."""
        at = START_MS + self.random.randrange(-300_000, END_MS - START_MS + 600_000)
        return at - at % self.pick((1, 1, 1000, 15000, 60000))
