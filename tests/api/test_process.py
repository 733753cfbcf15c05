"""The program itself: command line, configuration, locking, signals, restarts."""
import os
import subprocess
import tempfile
import unittest

from tidemark import PROGRAM, Tidemark, v1_series


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=30)


class CommandLine(unittest.TestCase):
    def test_help_and_version(self):
        self.assertIn("Usage:", run("--help").stdout)
        self.assertRegex(run("--version").stdout, r"^tidemark \d+\.\d+\.\d+$")

    def test_unknown_words_are_named(self):
        for args, word in ((["walk"], "walk"), (["run", "--speed"], "speed"), (["run", "now"], "now"),
                           (["check-config"], "check-config")):
            with self.subTest(args=args):
                result = run(*args)
                self.assertEqual(result.returncode, 2)
                self.assertIn(word, result.stderr)

    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(text)
            f.flush()
            return run("check-config", f.name)

    def test_good_configurations(self):
        for text in ("", "# nothing\n", "data_dir: x\nquery: {timeout: 30s, samples_max: 5}\n"):
            with self.subTest(text=text):
                self.assertEqual(self.check(text).returncode, 0, self.check(text).stderr)

    def test_bad_configurations_name_the_place(self):
        for text, words in (("retention: soon\n", ["retention", "soon"]),
                            ("shards: 5000\n", ["shards", "5000"]),
                            ("shards: many\n", ["shards", "line: 1"]),
                            ("log:\n  levle: info\n", ["levle", "line: 2"]),
                            ("log: {level: loud}\n", ["log.level", "loud"]),
                            ("write: {body_bytes_max: 4 parsecs}\n", ["write.body_bytes_max", "4 parsecs"]),
                            ("http: [\n", ["line"])):
            with self.subTest(text=text):
                result = self.check(text)
                self.assertEqual(result.returncode, 1)
                for word in words:
                    self.assertIn(word, result.stderr)

    def test_missing_file(self):
        result = run("check-config", "/nowhere/tidemark.yaml")
        self.assertEqual(result.returncode, 1)
        self.assertIn("/nowhere/tidemark.yaml", result.stderr)


class Life(unittest.TestCase):
    def test_second_start_is_refused(self):
        with Tidemark() as tide:
            second = subprocess.run([PROGRAM, "run", "--data-dir", tide.data_dir, "--http-listen", "127.0.0.1:0"],
                                    capture_output=True, text=True, timeout=30)
            self.assertEqual(second.returncode, 1)
            self.assertIn(tide.data_dir, second.stderr)
            self.assertIn(str(tide.process.pid), second.stderr)
            self.assertEqual(tide.get("/-/healthy").status, 200)

    def test_taken_address_is_named(self):
        with Tidemark() as tide, tempfile.TemporaryDirectory() as other:
            second = subprocess.run([PROGRAM, "run", "--data-dir", other, "--http-listen", "127.0.0.1:%d" % tide.port],
                                    capture_output=True, text=True, timeout=30)
            self.assertEqual(second.returncode, 1)
            self.assertIn(str(tide.port), second.stderr)

    def test_other_shard_count_is_refused(self):
        with Tidemark() as tide:
            self.assertEqual(tide.stop(), 0)
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
                f.write("shards: 3\n")
                f.flush()
                result = subprocess.run([PROGRAM, "run", "--data-dir", tide.data_dir, "--config", f.name],
                                        capture_output=True, text=True, timeout=30)
            self.assertEqual(result.returncode, 1)
            self.assertIn("4 shards", result.stderr)

    def test_sigterm_drains_and_exits_0_and_the_next_start_has_everything(self):
        with Tidemark() as tide:
            self.assertEqual(tide.write(v1_series({"__name__": "x"}, [(1000, 1.0), (2000, 2.0)])).status, 204)
            self.assertEqual(tide.stop(), 0)
            tide.start()
            self.assertEqual(tide.query("x[10s]", 5)[0]["values"], [[1, "1"], [2, "2"]])
            checkpoints = [name for shard in os.listdir(tide.data_dir + "/shards")
                           for name in os.listdir(tide.data_dir + "/shards/" + shard)]
            self.assertTrue(checkpoints)
            tide.kill()
            tide.start()
            self.assertEqual(tide.query("x[10s]", 5)[0]["values"], [[1, "1"], [2, "2"]])

    def test_damaged_checkpoint_is_refused_by_name(self):
        with Tidemark() as tide:
            tide.write(v1_series({"__name__": "x"}, [(1000, 1.0)]))
            tide.stop()
            damaged = 0
            for folder, _, names in os.walk(tide.data_dir + "/shards"):
                for name in names:
                    path = os.path.join(folder, name)
                    with open(path, "r+b") as f:
                        f.seek(os.path.getsize(path) // 2)
                        byte = f.read(1)
                        f.seek(-1, os.SEEK_CUR)
                        f.write(bytes([byte[0] ^ 1]))
                    damaged += 1
            self.assertGreater(damaged, 0)
            result = subprocess.run(tide.command(), capture_output=True, text=True, timeout=30)
            self.assertEqual(result.returncode, 1)
            self.assertIn("checkpoint-", result.stderr)


if __name__ == "__main__":
    unittest.main()
