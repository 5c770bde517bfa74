#!/usr/bin/env python3
"""What bench/compare makes of speeds, with engines that say what the test wants.

    compare_test.py FOLDER      (bench/)
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import xml.etree.ElementTree

BENCH = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(BENCH))

import charts  # noqa: E402
import comparison  # noqa: E402
import measure  # noqa: E402
from peers import base, hugging_face, venvs  # noqa: E402
from peers.base import Test, Unavailable  # noqa: E402

DECODE = Test(1, 16, 32)

# A prompt of 512 takes a second and a token 25 ms, 50 ms at depth 2048; prompts of a batch half a second, its steps 0.1 s.
DUNLIN = """#!/bin/sh
[ "$1" = bench ] || exit 9
what=$2
case "$*" in *"-t 1 --precision auto --json -r 1"*) ;; *) exit 8 ;; esac
while [ $# -gt 0 ]; do
  case "$1" in -n) n=$2 ;; -p) p=$2 ;; -d) d=$2 ;; --batch) batch=$2 ;; esac
  shift
done
if [ $what = model ]; then
  speed=40
  [ "$p" = 512 ] && speed=512
  [ "$d" = 2048 ] && speed=20
  echo "{\\"results\\": [{\\"avg_ts\\": $speed}]}"
elif [ -n "$NO_BATCH" ]; then
  echo '{"results": [{"rows": [], "issues": ["batch 8 does not fit"]}]}'
else
  case $n in 1) s=0.5 ;; 33) s=3.7 ;; *) exit 7 ;; esac
  echo "{\\"results\\": [{\\"rows\\": [{\\"batch\\": $batch, \\"samples_seconds\\": [$s]}], \\"issues\\": []}]}"
fi
"""

# Without flash attention 10 tokens/s, with it 20, but at depth 2048 the reverse.
LLAMA_BENCH = """#!/bin/sh
case "$*" in *"-o json -r 1 -t 1 -fa "*) ;; *) exit 8 ;; esac
while [ $# -gt 0 ]; do
  case "$1" in -fa) fa=$2 ;; -d) d=$2 ;; esac
  shift
done
[ "$d" = 2048 ] && fa=$((1 - fa))
echo "[{\\"avg_ts\\": $((10 + 10 * fa))}]"
"""

BATCHED_BENCH = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in -fa) fa=$2 ;; -npl) pl=$2 ;; -c) c=$2 ;; -npp) pp=$2 ;; -ntg) tg=$2 ;; esac
  shift
done
[ $c -ge $((256 * pl)) ] || exit 7
[ $fa = on ] && speed=40 || speed=8
echo "a line of a log" >&2
echo "{\\"pp\\": $pp, \\"tg\\": $tg, \\"pl\\": $pl, \\"speed_tg\\": $speed}"
"""


def fakes(folder):
    """A dunlin and llama.cpp's tools in the folder."""
    for name, text in {"dunlin": DUNLIN, "llama-bench": LLAMA_BENCH, "llama-batched-bench": BATCHED_BENCH}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


class ScriptTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        fakes(self.path)
        (self.path / "tiny.gguf").write_text("")

    def run_script(self, *flags, **environment):
        command = [sys.executable, BENCH / "compare", self.path / "tiny.gguf", "--dunlin", self.path / "dunlin",
                   "--llama-bin", self.path, "--work", self.path / "work", "-t", "1", "--batches", "8", *flags]
        return subprocess.run([str(word) for word in command], env={**os.environ, **environment}, capture_output=True,
                              text=True)

    def pairs(self):
        found = json.loads((self.path / "work" / "compare.json").read_text())
        self.assertEqual(found["schema_version"], 1)
        return {each["test"]: each for each in found["pairs"]}

    def test_ratios_against_the_better_setting(self):
        result = self.run_script("--peers", "llama_cpp")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        pairs = self.pairs()
        self.assertEqual(list(pairs), ["decode 32 at 16", "prefill 512", "decode 32 at 16, batch 8", "decode 32 at 2048"])
        for test, ours, theirs in (("decode 32 at 16", 40, 20), ("prefill 512", 512, 20), ("decode 32 at 2048", 20, 20),
                                   ("decode 32 at 16, batch 8", 80, 40)):
            for a, b in zip(pairs[test]["ours"], pairs[test]["theirs"], strict=True):
                self.assertAlmostEqual(a, ours)
                self.assertAlmostEqual(b, theirs)
            self.assertEqual(len(pairs[test]["ours"]), 5)
        self.assertIn("| tiny | decode 32 at 16 | llama.cpp: the same file, better of -fa 0 and 1 | 40.0 (40.0 to 40.0) "
                      "| 20.0 (20.0 to 20.0) | 2.00 (2.00 to 2.00) |", result.stdout)
        self.assertTrue((self.path / "work" / "compare.svg").exists())

    def test_what_cannot_be_run_is_a_line(self):
        # torch's environment is there already: nothing is fetched by a test.
        done = venvs.folder(base.Context(self.path / "work", 1, [0]), hugging_face.NAME)
        done.mkdir(parents=True)
        (done / "installed.json").write_text(json.dumps([hugging_face.BASE]))
        result = self.run_script("--peers", "torch_cpu,llama_cpp", NO_BATCH="1")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("not run: dunlin: batch 8 does not fit", result.stdout)
        self.assertIn("- tiny, torch (transformers): reads no GGUF file", result.stdout)
        self.assertEqual(self.pairs()["decode 32 at 16, batch 8"]["ours"], [])

    def test_nothing_measured_is_a_failure(self):
        (self.path / "llama-bench").write_text("#!/bin/sh\necho no such model >&2\nexit 1\n")
        (self.path / "llama-batched-bench").write_text("#!/bin/sh\nkill -9 $$\n")
        result = self.run_script("--peers", "llama_cpp")
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("not run: ended with code 1: no such model", result.stdout)
        self.assertIn("not run: ended with signal 9", result.stdout)
        self.assertIn("no such model", (self.path / "work" / "failures.log").read_text())

    def test_a_dry_run_runs_nothing(self):
        (self.path / "dunlin").write_text("#!/bin/sh\nexit 1\n")
        result = self.run_script("--dry-run", "--peers", "llama_cpp,vllm_cpu")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("-m venv", result.stdout)
        self.assertIn("torch==2.13.0", result.stdout)
        self.assertIn("dunlin bench sweep", result.stdout)
        self.assertFalse((self.path / "work").exists())

    def test_mistakes_in_flags(self):
        for flags, message in ((["--peers", "mlx"], "mlx is none of"), (["-t", "100000"], "--threads 100000"),
                               (["--rounds", "2"], "at least 5"), (["--batches", "0"], "--batches"),
                               (["--prompt", "0"], "are above 0")):
            result = self.run_script("--peers", "llama_cpp", *flags)
            self.assertEqual(result.returncode, 2, flags)
            self.assertIn(message, result.stderr)


class SideTest(unittest.TestCase):
    """Turns and failures, without processes."""

    class Side:
        def __init__(self, name, speeds, log):
            self.name, self.speeds, self.log = name, speeds, log

        def run(self, context, prepared, tests):
            self.log.append(self.name)
            speed = self.speeds.pop(0)
            if isinstance(speed, Unavailable):
                raise speed
            return {test: speed for test in tests}

    def run_rounds(self, ours, first, second):
        log, context = [], types.SimpleNamespace(dry_run=False)
        sides = [self.Side("a", first, log), self.Side("b", second, log)]
        with contextlib.redirect_stderr(io.StringIO()):
            pairs = comparison.run_rounds(context, (self.Side("dunlin", ours, log), None),
                                          [(side, None, "weights") for side in sides], [DECODE], 2, "model")
        return log, pairs

    def test_every_peer_has_a_run_of_ours_right_before(self):
        log, pairs = self.run_rounds([10.0, 20.0, 30.0, 40.0], [5.0, 5.0], [4.0, 4.0])
        self.assertEqual(log, ["dunlin", "a", "dunlin", "b"] * 2)
        self.assertEqual([each.ratios for each in pairs], [[2.0, 6.0], [5.0, 10.0]])

    def test_pairs_are_there_after_each_round(self):
        seen, context = [], types.SimpleNamespace(dry_run=False)
        with contextlib.redirect_stderr(io.StringIO()):
            comparison.run_rounds(context, (self.Side("dunlin", [10.0, 20.0], []), None),
                                  [(self.Side("a", [5.0, 5.0], []), None, "weights")], [DECODE], 2, "model",
                                  lambda pairs: seen.append([len(each.ours) for each in pairs]))
        self.assertEqual(seen, [[1], [2]])

    def test_a_peer_that_ends_is_left_out_of_later_rounds(self):
        log, pairs = self.run_rounds([10.0, 20.0, 30.0], [Unavailable("no memory")], [4.0, 4.0])
        self.assertEqual(log, ["dunlin", "a", "dunlin", "b", "dunlin", "b"])
        self.assertEqual(pairs[0].problem, "no memory")
        self.assertIn("| not run: no memory |", comparison.table(pairs))
        self.assertEqual(pairs[1].ratios, [5.0, 7.5])

    def test_disturbed_lines_are_marked(self):
        pairs = comparison.Pairs("m", "t", "p", "w", [1.0], [1.0], [0.05, 0.3])
        self.assertIn("| 30 % (disturbed) |", comparison.table([pairs]))
        self.assertEqual(measure.busy_text([0.05, None]), "5 %")
        self.assertEqual(measure.busy_text([None]), "-")

    def test_the_chart_is_xml_with_a_bar_for_each_ratio(self):
        pairs = [comparison.Pairs("m & n", "t", "<p>", "w", [4.0, 6.0], [2.0, 2.0]),
                 comparison.Pairs("m & n", "u", "p", "w", problem="none")]
        root = xml.etree.ElementTree.fromstring(comparison.chart(pairs, "2 rounds"))
        bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("fill") == charts.COLOURS[0]]
        self.assertEqual(len(bars), 1)
        self.assertIn("2.50", [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")])
        self.assertIsNone(comparison.chart(pairs[1:], ""))

    def test_steps_of_an_axis(self):
        for largest, step in ((1.2, 0.2), (8, 1), (9, 2), (17, 5), (100, 20)):
            self.assertAlmostEqual(charts.nice_step(largest), step, msg=str(largest))


if __name__ == "__main__":
    unittest.main()
