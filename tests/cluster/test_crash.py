"""kill -9 at random moments under load, many times; then every acknowledged sample is accounted for.

CRASH_ROUNDS and CRASH_SEED set how many kills and which; the defaults are CI's short mode."""
import os
import random
import threading
import time
import unittest

from tidemark import Tidemark, snappy, v1_series

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
WRITERS = 4
SERIES = 60  # Of each writer; a request holds one sample of each.


def value(writer, series, step):
    return float(writer * 1_000_000_000 + series * 10_000_000 + step)


def request(writer, step):
    return snappy(b"".join(
        v1_series({"__name__": "x", "w": str(writer), "s": "%03d" % s, "job": "j", "instance": str(s % 7)},
                  [(step * 1000, value(writer, s, step))]) for s in range(SERIES)))


class Writer(threading.Thread):
    """Sends step after step; one whose answer it did not get is sent again, as Prometheus does."""

    def __init__(self, tide, writer):
        super().__init__(daemon=True)
        self.tide, self.writer = tide, writer
        self.acknowledged = set()
        self.next = 1
        self.stopping = False
        self.refusals = []

    def run(self):
        while not self.stopping:
            try:
                reply = self.tide.write(request(self.writer, self.next), compress=False)
            except OSError:
                time.sleep(0.005)
                continue
            if reply.status == 204:
                self.acknowledged.add(self.next)
                self.next += 1
            elif reply.status != 503:
                self.refusals.append(reply)
                return


def check(test, tide, writers):
    """Nothing acknowledged is missing, nothing stands twice, nothing is there that was not sent."""
    for writer in writers:
        result = tide.query('x{w="%d"}[100d]' % writer.writer, 100 * 86400 - 1)
        acknowledged = set(writer.acknowledged)
        test.assertEqual(len(result), SERIES if acknowledged else len(result))
        for series in result:
            number = int(series["metric"]["s"])
            steps = [int(ts) for ts, _ in series["values"]]
            test.assertEqual(steps, sorted(set(steps)), "a sample stands twice")
            missing = acknowledged - set(steps)
            test.assertEqual(missing, set(), "acknowledged samples are gone, seed %d" % SEED)
            test.assertLessEqual(set(steps) - acknowledged, {writer.next, writer.next - 1})
            for step, (_, text) in zip(steps, series["values"]):
                test.assertEqual(float(text), value(writer.writer, number, step))
    return sum(len(writer.acknowledged) for writer in writers) * SERIES


class Crash(unittest.TestCase):
    def crash(self, config, rounds):
        rng = random.Random(SEED)
        print("seed %d, %d kills" % (SEED, rounds))
        with Tidemark(config=config) as tide:
            writers = [Writer(tide, w) for w in range(WRITERS)]
            for writer in writers:
                writer.start()
            for _ in range(rounds):
                time.sleep(rng.uniform(0.05, 0.8))
                tide.kill()
                tide.start()
            time.sleep(0.3)
            for writer in writers:
                writer.stopping = True
            for writer in writers:
                writer.join(timeout=60)
                self.assertEqual(writer.refusals, [])
            checked = check(self, tide, writers)
            tide.kill()
            tide.start()
            self.assertEqual(check(self, tide, writers), checked)
            self.assertEqual(tide.stop(), 0)
            tide.start()
            self.assertEqual(check(self, tide, writers), checked)
            print("%d acknowledged samples, all there, each once" % checked)
            self.assertGreater(checked, 10_000)

    def test_kills_under_load(self):
        self.crash("", ROUNDS)

    def test_kills_while_checkpoints_are_written_all_the_time(self):
        self.crash("storage: {checkpoint_log_bytes: 64KiB}\n", ROUNDS)


if __name__ == "__main__":
    unittest.main()
