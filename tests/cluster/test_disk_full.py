"""A full disk: writes are refused with 503, queries go on, and writing goes on by itself when there is space again.

Needs to mount a small tmpfs, so it is skipped where that is not allowed."""
import os
import subprocess
import tempfile
import time
import unittest

from tidemark import Tidemark, v1_series


def body(step):
    return b"".join(v1_series({"__name__": "x", "s": "%04d" % s}, [(step * 1000, float(step + s) / 3)])
                    for s in range(500))


class DiskFull(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tidemark-disk-")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", self.dir], capture_output=True)
        if mounted.returncode != 0:
            os.rmdir(self.dir)
            self.skipTest("cannot mount a tmpfs: " + mounted.stderr.decode().strip())
        self.filler = self.dir + "/filler"

    def tearDown(self):
        subprocess.run(["umount", self.dir], check=False)
        os.rmdir(self.dir)

    def fill(self, leave_bytes):
        with open(self.filler, "ab") as f:
            while True:
                stat = os.statvfs(self.dir)
                free = stat.f_bavail * stat.f_frsize - leave_bytes
                if free < 4096:
                    return
                try:
                    f.write(b"\0" * min(free, 4 << 20))
                    f.flush()
                except OSError:
                    return

    def steps_stored(self, tide):
        result = tide.query('x{s="0007"}[100d]', 100 * 86400 - 1)
        return {int(ts) for ts, _ in result[0]["values"]}

    def run_against(self, leave_bytes, watermark):
        os.mkdir(self.dir + "/data")
        config = "storage: {disk_free_bytes_min: %s, checkpoint_log_bytes: 1MiB}\n" % watermark
        acknowledged, step, refused = set(), 0, 0
        with Tidemark(data_dir=self.dir + "/data", config=config) as tide:
            for step in range(1, 50):
                self.assertEqual(tide.write(body(step)).status, 204)
                acknowledged.add(step)
            self.fill(leave_bytes)
            deadline = time.monotonic() + 60
            while refused < 20 and time.monotonic() < deadline:
                step += 1
                reply = tide.write(body(step))
                if reply.status == 204:
                    acknowledged.add(step)
                else:
                    self.assertEqual(reply.status, 503, reply)
                    self.assertIn("Retry-After", reply.headers)
                    refused += 1
            self.assertEqual(refused, 20, "the disk was full and no write was refused")
            self.assertLessEqual(acknowledged, self.steps_stored(tide))
            self.assertEqual(tide.get("/-/ready").status, 503)
            self.assertEqual(tide.get("/-/healthy").status, 200)
            os.unlink(self.filler)
            deadline = time.monotonic() + 15
            while tide.write(body(step)).status != 204:
                self.assertLess(time.monotonic(), deadline, "writes are still refused, with space again")
                time.sleep(0.1)
            acknowledged.add(step)
            tide.kill()
            tide.start()
            self.assertLessEqual(acknowledged, self.steps_stored(tide))
            tide.kill()

    def test_under_the_watermark(self):
        self.run_against(leave_bytes=8 << 20, watermark="32MiB")

    def test_not_a_byte_left(self):
        self.run_against(leave_bytes=0, watermark="1MiB")


if __name__ == "__main__":
    unittest.main()
