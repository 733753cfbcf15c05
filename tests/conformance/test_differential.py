"""The same queries to Tidemark and to a real Prometheus 3. Short here; DIFFERENTIAL_COUNT=5000 asks that many random queries,
DIFFERENTIAL_SEED chooses them. Whatever differs can be asked again with differential.py --seed.
"""
import os
import pathlib
import re
import unittest

import catalogue
import differential
import grammar
import oracle

FUNCTIONS = pathlib.Path(__file__).resolve().parents[2] / "libcommon" / "promql" / "include" / "tide" / "promql" / "fntable.h"


class Catalogue(unittest.TestCase):
    def test_names_every_function_operator_and_aggregation(self):
        text = "\n".join(catalogue.queries())
        functions = re.findall(r"^ *X\([A-Z0-9_]+, (\w+),", FUNCTIONS.read_text(), re.MULTILINE)
        self.assertGreater(len(functions), 80)
        aggregations = [*grammar.AGGREGATIONS, "topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"]
        self.assertEqual([f for f in functions if not re.search(r"\b%s\(" % f, text)], [])
        self.assertEqual([a for a in aggregations if not re.search(r"\b%s\b" % a, text)], [])
        self.assertEqual([op for op in grammar.ARITHMETIC + grammar.COMPARISONS + grammar.SETS if " %s " % op not in text], [])


class Differential(unittest.TestCase):
    def test_prometheus_answers_the_same(self):
        seed = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
        count = int(os.environ.get("DIFFERENTIAL_COUNT", "600"))
        try:
            run = differential.differential(seed, count)
        except oracle.Unavailable as err:
            self.skipTest("no Prometheus to compare with: %s" % err)
        self.assertEqual(run.counts["different"], 0, dict(run.classes))
        # Two engines that refuse everything would agree as well.
        self.assertGreater(run.counts["values"], 100 * run.counts["queries"] // 10)
        self.assertGreater(run.counts["bit-equal"], run.counts["equal"] * 9 // 10)


if __name__ == "__main__":
    unittest.main()
