#!/usr/bin/env python3
"""What bench/instruction_counts makes of counts, with a driver and a valgrind that say what the test wants.

    instruction_counts_test.py SCRIPT
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
[ "$DUNLIN_ISA" = avx2 ] || exit 9
case "$1" in
  --build) echo "g++ 12.2.0, Release" ;;
  --list) cut -d' ' -f1 "$FAKE/counts" ;;
  *) exit 8 ;;
esac
"""

# Knows what it must be asked, and the count of the call that comes last.
VALGRIND = """#!/bin/sh
[ "$DUNLIN_ISA" = avx2 ] || exit 9
case "$*" in
  "--tool=callgrind --toggle-collect=dunlin_counted_call --callgrind-out-file="*) ;;
  *) exit 8 ;;
esac
for last; do :; done
echo "==7== Events    : Ir" >&2
grep "^$last " "$FAKE/counts" | sed "s/^[^ ]* /==7== Collected : /" >&2
"""

COUNTS = {"linear_int8_q4_avx2/m1": 100000, "linear_int8_q4_avx2/m8": 500000, "rms_norm_f32_avx2/2048": 2000}


class InstructionCountsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)
        self.table = self.path / "table.json"
        for name, text in {"driver": DRIVER, "valgrind": VALGRIND}.items():
            (self.path / name).write_text(text)
            (self.path / name).chmod(0o755)

    def run_script(self, counts, *flags):
        (self.path / "counts").write_text("".join(f"{name} {count}\n" for name, count in counts.items()))
        command = [sys.executable, SCRIPT, "--driver", self.path / "driver", "--valgrind", self.path / "valgrind",
                   "--table", self.table, *flags]
        environment = {**os.environ, "FAKE": str(self.path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def compare(self, counts, *flags):
        """With a table of COUNTS."""
        self.assertEqual(self.run_script(COUNTS, "--update").returncode, 0)
        return self.run_script(counts, *flags)

    def test_update_writes_what_was_counted(self):
        result = self.run_script(COUNTS, "--update")
        self.assertEqual(result.returncode, 0, result.stderr)
        table = json.loads(self.table.read_text())
        self.assertEqual(table, {"schema_version": 1, "isa": "avx2", "build": "g++ 12.2.0, Release", "counts": COUNTS})

    def test_counts_may_differ_by_two_percent(self):
        for factor in (1, 1.019, 0.981):
            result = self.compare({name: int(count * factor) for name, count in COUNTS.items()})
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_more_and_fewer_are_both_said(self):
        name = "linear_int8_q4_avx2/m8"
        more = self.compare({**COUNTS, name: 515000})
        self.assertEqual(more.returncode, 1)
        self.assertIn("+3.00 %  more than it was", more.stdout)
        self.assertIn("1 of 3 kernels differ", more.stderr)
        fewer = self.compare({**COUNTS, name: 400000})
        self.assertEqual(fewer.returncode, 1)
        self.assertIn("-20.00 %  fewer: --update keeps it", fewer.stdout)
        self.assertEqual(self.compare({**COUNTS, name: 515000}, "--tolerance", "0.05").returncode, 0)

    def test_a_kernel_of_one_side_is_a_difference(self):
        new = self.compare({**COUNTS, "rope_f32_avx2/32x64": 9})
        self.assertEqual(new.returncode, 1)
        self.assertIn("is not in the table", new.stdout)
        gone = self.compare({name: count for name, count in COUNTS.items() if name.startswith("linear")})
        self.assertEqual(gone.returncode, 1)
        self.assertIn("is in the table only", gone.stdout)

    def test_only_some_kernels(self):
        counts = {**COUNTS, "rms_norm_f32_avx2/2048": 9999}
        self.assertEqual(self.compare(counts, "--only", "linear*").returncode, 0)
        self.assertEqual(self.compare(counts, "--only", "rms*").returncode, 1)
        self.assertEqual(self.compare(counts, "--only", "zzz").returncode, 2)
        self.assertEqual(self.run_script(COUNTS, "--update", "--only", "rms*").returncode, 2)

    def test_tables_that_cannot_be_compared_with(self):
        missing = self.run_script(COUNTS)
        self.assertEqual(missing.returncode, 2)
        self.assertIn("there is no table yet", missing.stderr)
        table = {"schema_version": 1, "isa": "avx2", "build": "g++ 12.2.0, Release", "counts": COUNTS}
        for wrong in ("", "[]", "{}", json.dumps({**table, "counts": {"a": "b"}}), json.dumps({**table, "isa": "amx"}),
                      json.dumps({**table, "schema_version": 2})):
            self.table.write_text(wrong)
            result = self.run_script(COUNTS)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn("not a table of --update", result.stderr)
        self.table.write_text(json.dumps({**table, "build": "clang++ 19, Debug"}))
        other = self.run_script(COUNTS)
        self.assertEqual(other.returncode, 2)
        self.assertIn("is of clang++ 19, Debug, and this build of g++ 12.2.0, Release", other.stderr)

    def test_a_count_of_nothing_is_none(self):
        result = self.compare({**COUNTS, "rms_norm_f32_avx2/2048": 0})
        self.assertEqual(result.returncode, 2)
        self.assertIn("nothing was counted", result.stderr)
        result = self.compare({**COUNTS, "rms_norm_f32_avx2/2048": "many"})
        self.assertEqual(result.returncode, 2)
        self.assertIn("valgrind ended with 0", result.stderr)

    def test_without_valgrind(self):
        command = [sys.executable, SCRIPT, "--valgrind", "/nowhere/valgrind", "--update"]
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)
        self.assertIn("/nowhere/valgrind: not installed", result.stderr)


if __name__ == "__main__":
    unittest.main()
