"""Prometheus' own acceptance scripts, each section in a tenant of its own.

The scripts and their runner stand beside the repository, in ../shared/promqltest. floor.json says how many evaluations of each
script passed when it was last raised; fewer are a failure. When more pass: PROMQLTEST_RAISE=1 writes the new floor, which
only rises.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from tidemark import Tidemark

HERE = pathlib.Path(__file__).resolve().parent
SCRIPTS = HERE.parents[2] / "shared" / "promqltest"
FLOOR = HERE / "floor.json"
REASONS_SHOWN_MAX = 10


def run_scripts(scripts):
    """The runner's report: script name to its rows, each with line, expr, status and reason."""
    with Tidemark() as tide, tempfile.TemporaryDirectory(prefix="tidemark-promqltest-") as folder:
        report = os.path.join(folder, "report.json")
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / "run_promtests.py"), "--isolate", "tenant", "--url",
             "http://127.0.0.1:%d" % tide.port, "--json", report, *map(str, scripts)],
            capture_output=True, text=True, timeout=600, check=False)
        if not os.path.exists(report):
            raise RuntimeError("the runner made no report:\n" + done.stdout[-2000:] + done.stderr[-2000:])
        with open(report) as f:
            return json.load(f)["files"]


@unittest.skipUnless((SCRIPTS / "run_promtests.py").exists(), "the acceptance scripts are not at ../shared/promqltest")
class Promqltest(unittest.TestCase):
    def test_no_script_falls_below_its_floor(self):
        scripts = sorted(SCRIPTS.glob("*.test"))
        self.assertTrue(scripts, "no scripts in ../shared/promqltest")
        files = run_scripts(scripts)
        floor = json.loads(FLOOR.read_text())
        passed, below = {}, []
        for name, report in sorted(files.items()):
            failed = [row for row in report["rows"] if row["status"] == "fail"]
            passed[name] = report["evals"] - len(failed)
            print("%-28s %4d of %4d passed, floor %4d" % (name, passed[name], report["evals"], floor.get(name, 0)))
            if passed[name] < floor.get(name, 0):
                below += ["%s: %d passed, floor %d" % (name, passed[name], floor[name])]
                below += ["  line %d: %s\n    %s" % (row["line"], row["expr"], row["reason"][:300])
                          for row in failed[:REASONS_SHOWN_MAX]]
        print("%d of %d passed" % (sum(passed.values()), sum(report["evals"] for report in files.values())))
        self.assertEqual(sorted(set(floor) - set(files)), [], "scripts with a floor are gone")
        self.assertEqual(below, [], "\n" + "\n".join(below))
        risen = {name: max(passed.get(name, 0), floor.get(name, 0)) for name in sorted({*passed, *floor})}
        if risen != floor:
            if os.environ.get("PROMQLTEST_RAISE"):
                FLOOR.write_text(json.dumps(risen, indent=4) + "\n")
            print("more passes than floor.json says; PROMQLTEST_RAISE=1 raises it")


if __name__ == "__main__":
    unittest.main()
