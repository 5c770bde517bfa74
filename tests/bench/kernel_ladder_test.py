#!/usr/bin/env python3
"""What bench/kernel_ladder makes of measurements, with a driver that says what the test wants.

    kernel_ladder_test.py SCRIPT
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)
DOCUMENTS = pathlib.Path(SCRIPT).resolve().parent.parent / "docs" / "kernels"

DRIVER = """#!/bin/sh
[ "$1" = --json ] || exit 8
[ "$2" = 5 ] || exit 7
echo "$DUNLIN_ISA" > "$FAKE/isa"
cat "$FAKE/lines"
"""

MACHINE = {"cpu": "A CPU", "isa": "avx2", "load": 0.25, "build": "Release"}


def step(ladder, name, seconds, **more):
    return {"ladder": ladder, "step": name, "kernel": "", "unit": "B" if ladder == "gemv" else "FLOP", "work": 10**9,
            "seconds": seconds, "roof": "plain read" if ladder == "gemv" else "multiply-adds", "roof_work": 2 * 10**9,
            "roof_seconds": [0.1] * 5, **more}


GEMV = [step("gemv", "scalar", [1.0, 1.0, 1.0, 2.0, 0.5]),
        step("gemv", "kernel", [0.1, 0.1, 0.2, 0.1, 0.05], kernel="linear_int8_q4_avx2")]
GEMM = [step("gemm", "scalar", [1.0] * 5), step("gemm", "kernel", [0.1] * 5, kernel="linear_bf16_q4_avx2")]
TILE = step("gemm", "tile", [0.05] * 5, kernel="linear_bf16_q4_amx", roof="tiles", roof_work=4 * 10**9)


def document(ladder, steps):
    explained = "\n".join(f"- **{name}**: why." for name in steps)
    return f"# {ladder}\n\n<!-- ladder: {ladder} -->\nNo figures yet.\n<!-- end -->\n\n{explained}\n"


class KernelLadderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        self.texts = {"gemv": document("gemv", ["scalar", "kernel"]),
                      "gemm": document("gemm", ["scalar", "kernel", "tile"])}
        for name, text in self.texts.items():
            (self.path / f"{name}.md").write_text(text)
        (self.path / "driver").write_text(DRIVER)
        (self.path / "driver").chmod(0o755)

    def run_script(self, steps, *flags, busy=("--busy",), rounds="5"):
        lines = [json.dumps(each) + "\n" for each in (MACHINE, *steps)]
        (self.path / "lines").write_text("".join(lines))
        command = [sys.executable, SCRIPT, "--driver", self.path / "driver", "--documents", self.path, "--rounds", rounds,
                   *busy, *flags]
        return subprocess.run(command, env={**os.environ, "FAKE": str(self.path)}, capture_output=True, text=True)

    def documents(self):
        return {name: (self.path / f"{name}.md").read_text() for name in self.texts}

    def test_medians_shares_and_gains_are_of_pairs(self):
        result = self.run_script([*GEMV, *GEMM], "--isa", "avx2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| step | GB/s | of the roof | over the step before |", result.stdout)
        self.assertIn("| scalar | 1 (0.5 to 2) | 5 % (2.5 % to 10 %) |  |", result.stdout)
        self.assertIn("| kernel | 10 (5 to 20) | 50 % (25 % to 100 %) | 10.00 (5.00 to 20.00) |", result.stdout)
        self.assertIn("| step | GFLOP/s |", result.stdout)
        self.assertIn("Roof: plain read, 20 (20 to 20) GB/s.", result.stdout)
        self.assertIn("One thread of A CPU with avx2, load average 0.25", result.stdout)
        self.assertEqual((self.path / "isa").read_text(), "avx2\n")
        self.assertEqual(self.documents(), self.texts)

    def test_update_writes_between_the_marks_again_and_again(self):
        self.assertEqual(self.run_script([*GEMV, *GEMM], "--update").returncode, 0)
        once = self.documents()
        for name, text in once.items():
            self.assertNotIn("No figures yet.", text)
            self.assertTrue(text.startswith(f"# {name}\n\n<!-- ladder: {name} -->\n| step |"), text)
            self.assertIn("By `bench/kernel_ladder --update`.\n<!-- end -->\n\n- **scalar**: why.\n", text)
        self.assertEqual(self.run_script([*GEMV, *GEMM], "--update").returncode, 0)
        self.assertEqual(self.documents(), once)

    def test_tiles_have_a_roof_of_their_own(self):
        result = self.run_script([*GEMV, *GEMM, TILE], "--update")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| tile | 20 (20 to 20) | 50 % (50 % to 50 %) | 2.00 (2.00 to 2.00) |", result.stdout)
        self.assertIn("Roof: multiply-adds, 20 (20 to 20) GFLOP/s; tiles, 40 (40 to 40) GFLOP/s.", result.stdout)
        self.assertIn("Kernels: linear_bf16_q4_avx2, linear_bf16_q4_amx.", result.stdout)

    def test_every_step_is_explained(self):
        for steps, wrong in (([*GEMV, step("gemv", "magic", [1.0] * 5), *GEMM], "magic"), ([GEMV[0], *GEMM], "kernel")):
            result = self.run_script(steps, "--update")
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"explained or measured, and not both: {wrong}", result.stderr)
            self.assertEqual(self.documents(), self.texts)

    def test_marks_that_are_missing(self):
        (self.path / "gemm.md").write_text("- **scalar**\n- **kernel**\n")
        result = self.run_script([*GEMV, *GEMM], "--update")
        self.assertEqual(result.returncode, 2)
        self.assertIn("no \"<!-- ladder: gemm -->\"", result.stderr)
        self.assertEqual((self.path / "gemv.md").read_text(), self.texts["gemv"])

    def test_drivers_that_fail(self):
        result = self.run_script([*GEMV, step("gemm", "scalar", [1.0])])
        self.assertEqual(result.returncode, 2)
        self.assertIn("gemm scalar has not 5 rounds", result.stderr)
        self.assertEqual(self.run_script(GEMV).returncode, 2)
        (self.path / "driver").write_text("#!/bin/sh\necho 'error: gemv packed: value 3' >&2\nexit 1\n")
        result = self.run_script([])
        self.assertEqual(result.returncode, 1)
        self.assertIn("error: other bits: gemv packed: value 3", result.stderr)
        (self.path / "driver").write_text("#!/bin/sh\necho 'no ladder without AVX2' >&2\nexit 77\n")
        result = self.run_script([])
        self.assertEqual(result.returncode, 2)
        self.assertIn("no ladder without AVX2", result.stderr)

    def test_few_rounds_and_a_busy_machine_are_refused(self):
        self.assertEqual(self.run_script([*GEMV, *GEMM], rounds="4").returncode, 2)
        result = self.run_script([*GEMV, *GEMM], "--load", "-1", busy=())
        self.assertEqual(result.returncode, 2)
        self.assertIn("wait, or --busy", result.stderr)

    # The steps of bench/kernel_ladder_cases.cpp.
    def test_the_documents_explain_the_steps_that_there_are(self):
        source = (pathlib.Path(SCRIPT).resolve().parent / "kernel_ladder_cases.cpp").read_text()
        gemv, gemm = source.split("\nLadder gemv_ladder(")[1].split("\nLadder gemm_ladder(")
        for name, code in (("gemv", gemv), ("gemm", gemm)):
            steps = re.findall(r"add_(?:own|kernel)\(\"([a-z]+)\"", code)
            explained = re.findall(r"^- \*\*([a-z]+)\*\*", (DOCUMENTS / f"{name}.md").read_text(), re.MULTILINE)
            self.assertEqual(explained, steps)


if __name__ == "__main__":
    unittest.main()
