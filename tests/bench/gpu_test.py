#!/usr/bin/env python3
"""What bench/gpu asks, counts and writes, with programs that say what the test wants.

    gpu_test.py FOLDER      (bench/)
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(sys.argv.pop(1)).resolve()

DUNLIN = """#!/bin/sh
echo "$*" >> "$FAKE/calls"
case "$1" in
  version) echo '{"version": "0.1.0", "compiler": "g++ 12.2.0"}' ;;
  plan) cat "$FAKE/plan"; exit 4 ;;
  bench) [ -f "$FAKE/bench" ] || { echo 'error: no plug-in' >&2; exit 5; }
    case "$*" in *"-n 128 "*) cat "$FAKE/short" ;; *) cat "$FAKE/bench" ;; esac ;;
  *) exit 9 ;;
esac
"""
TEST = """#!/bin/sh
echo "$(basename "$0") $DUNLIN_TEST_PJRT_DEVICE $GTEST_SHARD_INDEX/$GTEST_TOTAL_SHARDS $*" >> "$FAKE/calls"
cat "$FAKE/printed"
exit $(cat "$FAKE/code")
"""
PRINTED = """[==========] 25 tests from 3 test suites ran. (1000 ms total)
[  PASSED  ] 23 tests.
[  SKIPPED ] 2 tests, listed below:
[  SKIPPED ] Some.Test
"""


def sweep(one, eight):
    """What `bench sweep` prints of batches of one and of eight."""
    return json.dumps({"results": [{"rows": [{"batch": 1, "samples_seconds": one}, {"batch": 8, "samples_seconds": eight}]}]})


class GpuTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        (self.path / "bin").mkdir()
        for name, text in (("dunlin", DUNLIN), ("pjrt_parity_test", TEST), ("pjrt_cases_test", TEST)):
            (self.path / "bin" / name).write_text(text)
            (self.path / "bin" / name).chmod(0o755)
        (self.path / "llama-3.1-8b-BF16").mkdir()  # nothing has to be written
        (self.path / "plan").write_text(json.dumps({"decode": {"step": {"memory_seconds": 0.004}}}))
        (self.path / "short").write_text(sweep([1.1, 1.0, 1.0], [2.0, 2.0, 2.0]))
        (self.path / "bench").write_text(sweep([2.28, 2.6, 3.0], [4.56, 4.56, 4.56]))
        (self.path / "printed").write_text(PRINTED)
        (self.path / "code").write_text("0")

    def run_script(self, *flags):
        command = [sys.executable, BENCH / "gpu", "--card", "h200", "--build", self.path, "--work", self.path,
                   "--shards", 2, *flags]
        return subprocess.run([str(word) for word in command], env={**os.environ, "FAKE": str(self.path)}, capture_output=True,
                              text=True)

    def test_shares_and_counts(self):
        result = self.run_script()
        self.assertEqual(result.returncode, 0, result.stderr)
        # 256 steps in 1.28, 1.6 and 2 seconds more than 128: 4 ms of 5, of 6.25 and of 7.81.
        for name in ("BF16", "int8"):
            self.assertIn(f"| llama-3.1-8b, {name} | 1 | 160.0 (128.0 to 200.0) | 4.000 | 64.0 (51.2 to 80.0) % |",
                          result.stdout)
            self.assertIn(f"| llama-3.1-8b, {name} | 8 | 800.0 (800.0 to 800.0) | 4.000 | 40.0 (40.0 to 40.0) % |",
                          result.stdout)
        self.assertIn("| pjrt_parity_test | 46 | 4 |\n| pjrt_cases_test | 46 | 4 |", result.stdout)
        calls = (self.path / "calls").read_text().splitlines()
        model = self.path / "llama-3.1-8b-BF16"
        self.assertIn(f"plan {model} --device h200 -c 896 --parallel 8 --fill 0.857 --json", calls)
        self.assertIn(f"bench sweep {model} --backend pjrt --device gpu --batch 1,8 -p 512 -n 384 -r 5 --quantize int8 --json",
                      calls)
        for shard in ("0/2", "1/2"):
            self.assertIn(f"pjrt_parity_test gpu {shard} --gtest_filter=-*Slow* --gtest_brief=0", calls)

    def test_what_fails_is_said_and_the_rest_goes_on(self):
        (self.path / "bench").unlink()
        result = self.run_script()
        self.assertEqual(result.returncode, 1)
        self.assertIn("error: no plug-in", result.stderr)
        self.assertIn("| pjrt_cases_test | 46 | 4 |", result.stdout)
        (self.path / "bench").write_text('{"results": []}')
        (self.path / "code").write_text("1")
        (self.path / "printed").write_text("[  FAILED  ] Some.Test\n")
        result = self.run_script()
        self.assertEqual(result.returncode, 1)
        self.assertIn("IndexError", result.stderr)
        self.assertIn("[  FAILED  ] Some.Test", result.stderr)
        self.assertNotIn("| pjrt_cases_test |", result.stdout)

    def test_tests_that_all_skip_are_no_success(self):
        (self.path / "printed").write_text("[  PASSED  ] 0 tests.\n[  SKIPPED ] 25 tests, listed below:\n")
        result = self.run_script()
        self.assertEqual(result.returncode, 1)
        self.assertIn("pjrt_parity_test: no test ran", result.stderr)

    def test_the_minutes_are_kept(self):
        result = self.run_script("--minutes", "0")
        self.assertEqual(result.returncode, 1)
        self.assertIn("pjrt_cases_test: the minutes are over", result.stderr)

    def test_parts(self):
        result = self.run_script("--parts", "tokens")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("_test", (self.path / "calls").read_text())
        self.assertIn("| llama-3.1-8b, int8 | 8 |", result.stdout)
        result = self.run_script("--parts", "all")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--parts all: expected tests, tokens or tests,tokens", result.stderr)

    def test_wrong_use(self):
        (self.path / "bin" / "pjrt_cases_test").unlink()
        result = self.run_script()
        self.assertEqual(result.returncode, 2)
        self.assertIn("no such program; build the preset first", result.stderr)


if __name__ == "__main__":
    unittest.main()
