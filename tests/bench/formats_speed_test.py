#!/usr/bin/env python3
"""What bench/formats_speed makes of measurements, with a formats_bench that says what the test wants.

    formats_speed_test.py SCRIPT
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)

DRIVER = """#!/bin/sh
[ "$1" = --json ] || exit 8
[ "$2" = 3 ] || exit 7
echo "$DUNLIN_ISA" > "$FAKE/isa"
cat "$FAKE/lines"
"""

MACHINE = {"cpu": "A CPU", "isa": "avx2", "load": 0.25, "build": "Release"}
Q4_0 = {"format": "Q4_0", "kernel": "linear_int8_q4_avx2", "bytes": 2 * 10**9, "seconds": [0.2, 0.25, 0.4],
        "read_seconds": [0.1, 0.2, 0.2]}
F32 = {"format": "F32", "kernel": "linear_f32_f32_avx2", "bytes": 10**9, "seconds": [0.1, 0.1, 0.1],
       "read_seconds": [0.1, 0.1, 0.1]}

DOCUMENT = """# Formats

| format | other |
|---|---|
| Q4_0 | 1 |

## Size and error

| format | bits, file |
|---|---|
| F32 | 32 |
| Q4_0 | 4.5 |

What follows.
"""


class FormatsSpeedTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        self.document = self.path / "formats.md"
        self.document.write_text(DOCUMENT)
        (self.path / "driver").write_text(DRIVER)
        (self.path / "driver").chmod(0o755)

    def run_script(self, measured, *flags, busy=("--busy",)):
        lines = [json.dumps(each) + "\n" for each in (MACHINE, *measured)]
        (self.path / "lines").write_text("".join(lines))
        command = [sys.executable, SCRIPT, "--driver", self.path / "driver", "--document", self.document,
                   "--rounds", "3", *busy, *flags]
        return subprocess.run(command, env={**os.environ, "FAKE": str(self.path)}, capture_output=True, text=True)

    def test_medians_and_their_spread(self):
        result = self.run_script([F32, Q4_0], "--isa", "avx2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| Q4_0 | linear_int8_q4_avx2 | 8.0 (5.0 to 10.0) | 0.50 (0.50 to 0.80) |", result.stdout)
        self.assertIn("| F32 | linear_f32_f32_avx2 | 10.0 (10.0 to 10.0) | 1.00 (1.00 to 1.00) |", result.stdout)
        self.assertIn("on one thread of A CPU with avx2,\nload average 0.25; medians of 3 rounds", result.stdout)
        self.assertIn("at most 0.30, Q4_0", result.stdout)
        self.assertEqual((self.path / "isa").read_text(), "avx2\n")
        self.assertEqual(self.document.read_text(), DOCUMENT)

    def test_update_writes_the_column(self):
        self.assertEqual(self.run_script([Q4_0, F32], "--update").returncode, 0)
        text = self.document.read_text()
        self.assertIn("| format | bits, file | GB/s, share of a plain read |\n|---|---|---|\n"
                      "| F32 | 32 | 10.0, 1.00 |\n| Q4_0 | 4.5 | 8.0, 0.50 |\n\nGB/s and share: ", text)
        self.assertIn("by `bench/formats_speed --update`.\n\nWhat follows.\n", text)
        self.assertIn("| format | other |\n|---|---|\n| Q4_0 | 1 |\n", text)

    def test_update_replaces_what_it_wrote(self):
        self.assertEqual(self.run_script([Q4_0, F32], "--update").returncode, 0)
        once = self.document.read_text()
        self.assertEqual(self.run_script([Q4_0, F32], "--update").returncode, 0)
        self.assertEqual(self.document.read_text(), once)
        faster = {**Q4_0, "bytes": 4 * 10**9}
        self.assertEqual(self.run_script([faster, F32], "--update").returncode, 0)
        self.assertEqual(self.document.read_text(), once.replace("8.0, 0.50", "16.0, 0.50"))

    def test_every_row_is_measured(self):
        for measured, wrong in (([F32], "Q4_0"), ([F32, Q4_0, {**F32, "format": "Q9"}], "Q9")):
            result = self.run_script(measured, "--update")
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"in the table or measured, and not both: {wrong}", result.stderr)
            self.assertEqual(self.document.read_text(), DOCUMENT)

    def test_rounds_that_are_missing_and_drivers_that_fail(self):
        result = self.run_script([{**F32, "seconds": [0.1]}])
        self.assertEqual(result.returncode, 2)
        self.assertIn("F32 has not 3 rounds", result.stderr)
        (self.path / "driver").write_text("#!/bin/sh\necho 'error: no such isa' >&2\nexit 2\n")
        result = self.run_script([F32])
        self.assertEqual(result.returncode, 2)
        self.assertIn("error: no such isa", result.stderr)

    def test_a_busy_machine_is_refused(self):
        result = self.run_script([F32, Q4_0], "--load", "-1", busy=())
        self.assertEqual(result.returncode, 2)
        self.assertIn("wait, or --busy", result.stderr)


if __name__ == "__main__":
    unittest.main()
