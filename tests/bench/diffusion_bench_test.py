#!/usr/bin/env python3
"""What bench/diffusion_steps, compare_diffusion, diffusion_criteria and diffusion_accuracy ask, keep and judge.

    diffusion_bench_test.py FOLDER DUNLIN      (bench/, and the real program, whose flags are looked at)
"""

import contextlib
import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

DUNLIN = pathlib.Path(sys.argv.pop(2)).resolve()
BENCH = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path[:0] = [str(BENCH), str(pathlib.Path(__file__).resolve().parent)]

from fake_dunlin import TINY, FakeDunlin, load_script, run_script  # noqa: E402

# A token takes $TOKEN milliseconds (100), passes over blocks of 32 and of 8 rows 250 and 160, the canvas half of the peak.
STEPS = """
calls = [line for line in open(os.path.join(os.path.dirname(__file__), "calls")) if '"bench"' in line]
if len(calls) == int(os.environ.get("FAIL_AT", "0")):
    sys.exit("error: no memory")
token = float(os.environ.get("TOKEN", "100"))
block = value("--block-length")
result = {"tflops": 0.5, "isa": os.environ.get("ISA", "avx512"), "n_threads": 2, "load_average": 1.5, "pass_times": []}
if value("-n") == "0":
    result["avg_ns"] = 2e9
elif value("--steps") is None:
    result["avg_ns"] = token * 1e6 * int(value("-n"))
elif block is None:
    result["avg_ns"] = 64e9
else:
    result["avg_ns"] = 20e9
    result["pass_times"] = [{"rows": 160, "passes": 4, "avg_ns": 3e9},
                            {"rows": int(block), "passes": 12, "avg_ns": {"32": 250e6, "8": 160e6}[block]}]
say({"results": [result]})
"""

KERNELS_BENCH = """#!/bin/sh
case "$1" in "--benchmark_filter=^multiply_add_peak_avx512/real_time/threads:2$") ;; *) exit 0 ;; esac
echo '{"benchmarks": [{"name": "multiply_add_peak_avx512/real_time/threads:2", "FLOP/s": 1e12}]}'
"""

# Without a cache an answer takes 40 seconds, with it $DUAL (8).
COMPARED = """
if words[0] == "inspect":
    say({"tokenizer": {"available": True, "chat_template": True}})
    sys.exit()
cached = value("--dlm-cache") == "dual"
seconds = float(os.environ.get("DUAL", "8")) if cached else 40
say({"prompt_ids": [5] * 30, "ids": [7] * int(value("-n")), "forward_passes": 31 if cached else 30,
     "timings": {"predicted_ms": 1000 * seconds}})
"""

TOOL = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/tool_calls"
echo "$FAILURE" >&2
case "$*" in *"-fa on"*) total=80000 ;; *) total=90000 ;; esac
echo "total time: $total.00ms, time per step: 2500.00ms, sampling time per step: 100.00ms"
"""

# Four together take a second; one after the other 0.8 each; a single answer $ANSWER (9). The process of the many waits, so that
# its memory can be looked at.
CRITERIA = """
if words[0] == "verify":
    say({"kinds": [{"kind": "logits", "passed": 19, "checked": 20}], "passed": 19, "checked": 20})
    sys.exit()
if words[0] == "plan":
    say({"canvas": {"best_answer_seconds": 10.0}})
    sys.exit(4)
prompts = [json.loads(line)["prompt"] for line in open(value("--prompts"))]
seconds = {1: float(os.environ.get("ANSWER", "9")), 4: 1.0 if value("-np") == "4" else 0.8}.get(len(prompts), 1.0)
for prompt in prompts:
    say({"ids": [7] * int(value("-n")), "prompt_ids": [5] * 6, "forward_passes": int(value("--steps")),
         "timings": {"predicted_ms": 1000 * seconds, "load_ms": 3000}})
if len(prompts) > 4:
    import time
    time.sleep(float(os.environ.get("WAIT", "1")))
"""


class FakeTest(unittest.TestCase):
    body = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        self.work = self.path / "work"
        self.work.mkdir()
        self.dunlin = FakeDunlin(self.path, self.body)

    def program(self, name, text):
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)
        return self.path / name

    def rows(self, name):
        (run,) = json.loads((self.work / name).read_text())["runs"]
        return run["rows"]


class StepsTest(FakeTest):
    body = STEPS

    def setUp(self):
        super().setUp()
        self.models = [self.work / f"{shape}-Q4_0.gguf" for shape in ("dream-7b", "qwen2.5-7b")]
        for model in self.models:
            model.write_text("")
        self.kernels_bench = self.program("kernels_bench", KERNELS_BENCH)

    def steps(self, *flags, **environment):
        return run_script(BENCH / "diffusion_steps", "--work", self.work, "--dunlin", self.dunlin.path, "--kernels-bench",
                          self.kernels_bench, *flags, **environment)

    def test_ratios_are_judged(self):
        result = self.steps()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        for line in ("| canvas, of the peak | 0.50 (0.50 to 0.50) | at least 0.35 | 0.55 | kept |",
                     "| step of 32 rows / token | 2.50 (2.50 to 2.50) | at most 2.8 | 2.2 | kept |",
                     "| step of 8 rows / token | 1.60 (1.60 to 1.60) | at most 1.8 | 1.5 | kept |",
                     "| no cache / dual cache | 3.20 (3.20 to 3.20) | at least 2.0 | - | kept |"):
            self.assertIn(line, result.stdout)
        self.assertIn("load average up to 1.50", result.stdout)
        self.assertEqual(self.dunlin.wrong_calls(DUNLIN, TINY, self.models), [])
        slow = self.steps("--again", TOKEN="50")
        self.assertEqual(slow.returncode, 1)
        self.assertIn("| step of 32 rows / token | 5.00 (5.00 to 5.00) | at most 2.8 | 2.2 | NOT KEPT |", slow.stdout)

    def test_a_round_is_measured_once(self):
        # Five commands a round: the third of the third round fails.
        failed = self.steps(FAIL_AT="13")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no memory", failed.stderr)
        self.assertEqual(list(self.rows("diffusion_steps-Q4_0.json")), ["1", "2"])
        self.assertEqual(self.steps().returncode, 0)
        self.assertEqual(len(self.dunlin.calls("bench", "model")), 13 + 15)
        self.assertEqual(self.steps().returncode, 0)
        self.assertEqual(len(self.dunlin.calls("bench", "model")), 28)
        other = self.steps("--precision", "int8")
        self.assertIn("of other settings, another build or another machine", other.stderr)
        self.assertEqual(len(self.dunlin.calls("bench", "model")), 28 + 25)
        self.assertEqual(self.steps().returncode, 0)
        self.assertEqual(len(self.dunlin.calls("bench", "model")), 53)
        self.program("kernels_bench", KERNELS_BENCH + "# Another.\n")
        self.assertEqual(self.steps().returncode, 0)
        self.assertEqual(len(self.dunlin.calls("bench", "model")), 53 + 25)

    def test_a_kernels_bench_that_there_is_not_is_an_error_at_once(self):
        self.kernels_bench.unlink()
        result = self.steps()
        self.assertEqual(result.returncode, 1)
        self.assertIn("kernels_bench is not built", result.stderr)
        self.assertEqual(self.dunlin.calls(), [])

    def test_a_processor_without_a_known_peak_keeps_no_limit_of_it(self):
        result = self.steps(ISA="neon")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no figure: no peak is known for isa neon", result.stdout)
        self.assertIn("| no cache / dual cache | 3.20 (3.20 to 3.20) | at least 2.0 | - | kept |", result.stdout)

    def test_a_peak_that_kernels_bench_does_not_have(self):
        self.program("kernels_bench", "#!/bin/sh\n")
        result = self.steps()
        self.assertEqual(result.returncode, 1)
        self.assertIn("has no multiply_add_peak_avx512/real_time/threads:2", result.stderr)


class CompareTest(FakeTest):
    body = COMPARED

    def compare(self, *flags, **environment):
        model = self.path / "dream.gguf"
        if not model.exists():  # what is written again is another
            model.write_text("")
            self.program("llama-diffusion-cli", TOOL)
        tool = self.path / "llama-diffusion-cli"
        return run_script(BENCH / "compare_diffusion", model, "--llama-diffusion-cli", tool, "--work", self.work, "--dunlin",
                          self.dunlin.path, "-t", "2", *flags, **environment)

    def test_the_dual_cache_is_judged_against_the_better_setting(self):
        result = self.compare()
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("30 tokens of prompt, 130 masks, 32 steps", result.stdout)
        self.assertIn("| dunlin, no cache | 40.00 (40.00 to 40.00) | 2.00 (2.00 to 2.00) |", result.stdout)
        self.assertIn("at least 8 times as fast as llama.cpp: 10.00, kept", result.stdout)
        self.assertEqual(len((self.path / "tool_calls").read_text().splitlines()), 10)
        self.assertEqual(self.dunlin.wrong_calls(DUNLIN, TINY, [self.path / "dream.gguf"]), [])
        self.assertEqual(self.compare().returncode, 0)
        self.assertEqual(len((self.path / "tool_calls").read_text().splitlines()), 10)
        slow = self.compare("--again", DUAL="16")
        self.assertEqual(slow.returncode, 1)
        self.assertIn("5.00, NOT KEPT", slow.stdout)

    def test_other_sizes_are_not_judged(self):
        result = self.compare("--canvas", "96", "--steps", "16", DUAL="16")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("not judged", result.stdout)

    def test_a_step_of_the_tool_that_failed_is_no_time(self):
        result = self.compare(FAILURE="failed to decode at step 3")
        self.assertEqual(result.returncode, 1)
        self.assertIn("or failed", result.stderr)


class CriteriaTest(FakeTest):
    body = CRITERIA

    def criteria(self, *flags, **environment):
        return run_script(BENCH / "diffusion_criteria", "--model", TINY, "--work", self.work, "--dunlin", self.dunlin.path,
                          "--generations", "20", *flags, **environment)

    def test_what_is_judged(self):
        result = self.criteria()
        self.assertIn("| answer, exact | 9.00 (9.00 to 9.00) s | under 10 s | met |", result.stdout, result.stderr)
        self.assertIn("| batch of 4, dual cache, blocks of 8 | 3.20 (3.20 to 3.20) times, 400.00 tokens/s, 2.00 tokens per "
                      "forward | at least 2 times | met |", result.stdout)
        self.assertIn("| parity at 1e-4 | logits 19 of 20 | at least 95 % of the tensors | met |", result.stdout)
        self.assertIn("| memory over 20 answers |", result.stdout)
        if os.access("/proc/self/clear_refs", os.W_OK):
            self.assertRegex(result.stdout, r"memory over 20 answers \| rises by -?0\.\d+ MiB .* \| at most 1 MiB \| met \|")
            self.assertEqual(result.returncode, 0)
        self.assertEqual(self.dunlin.wrong_calls(DUNLIN, TINY, []), [])
        # A first start, five rounds of three answers and of a batch together and in turn, and the memory.
        self.assertEqual(len(self.dunlin.calls("run")), 1 + 5 * (3 + 2) + 1)
        asked = len(self.dunlin.calls("run"))
        slow = self.criteria(ANSWER="11")
        self.assertIn("| answer, exact | 9.00", slow.stdout)
        self.assertLessEqual(len(self.dunlin.calls("run")), asked + 1)  # memory, where it could not be measured
        again = self.criteria("--again", ANSWER="11")
        self.assertEqual(again.returncode, 1)
        self.assertIn("| answer, exact | 11.00 (11.00 to 11.00) s | under 10 s | NOT MET |", again.stdout)

    def test_other_modes_of_batches_have_a_roof(self):
        result = self.criteria("--modes", "dual", "--batch-modes", "exact")
        self.assertIn("| batch of 4, exact | 3.20 (3.20 to 3.20) times, 400.00 tokens/s, 2.00 tokens per forward | roof 4.00 "
                      "times |  |", result.stdout, result.stderr)
        self.assertEqual(self.dunlin.wrong_calls(DUNLIN, TINY, []), [])

    def test_memory_that_cannot_be_read_is_no_figure(self):
        script = load_script(BENCH / "diffusion_criteria")
        options = types.SimpleNamespace(dunlin=self.dunlin.path, model=TINY, work=self.work, generations=20, threads=2,
                                        precision="auto")
        for peaks, found in (([100] * 20, [100] * 20), ([100] * 19 + [None], [100] * 20),
                             ([100] * 10 + [None] + [100] * 9, None), ([None] * 20, None)):
            script.follow = lambda process, count, peaks=peaks: list(peaks)
            with unittest.mock.patch.dict(os.environ, WAIT="0"):
                if found is not None:
                    self.assertEqual(script.peaks_of(options), found)
                    continue
                with self.assertRaisesRegex(SystemExit, f"behind answer {peaks.index(None) + 1} of 20"):
                    script.peaks_of(options)

    def test_mistakes_in_flags(self):
        for flags, message in ((["--modes", "none"], "none is none of exact"), (["--generations", "5"], "at least 20"),
                               (["--rounds", "1"], "at least 5")):
            result = self.criteria(*flags)
            self.assertEqual(result.returncode, 2, flags)
            self.assertIn(message, result.stderr)


class AccuracyTest(unittest.TestCase):
    MASK = 9

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        self.script = load_script(BENCH / "diffusion_accuracy")
        # Behind 0 came 1, and behind what was never seen comes the most frequent token, 1: no bigram is right where 0 and 2 take
        # turns. The model may be.
        corpus = {"mask_id": self.MASK, "steps": 7, "train": [1, 0] * 100, "held_out": [0, 2] * 200}
        (self.path / "corpus.json").write_text(json.dumps(corpus))

    def answers(self, right, flags_seen):
        """Of a model that knows the held-out text or always says 5, and takes two passes."""
        def run(options, prompts, flags):
            flags_seen.append(flags)
            found = []
            for ids in prompts:
                parity = next(i % 2 if id == 0 else (i + 1) % 2 for i, id in enumerate(ids) if id != self.MASK)
                text = [0 if i % 2 == parity else 2 for i in range(2 * len(ids))]
                said = text if right else [5] * len(text)
                found.append({"infilled_ids": [said[i] if id == self.MASK else id for i, id in enumerate(ids)],
                              "ids": said[len(ids):], "forward_passes": 2})
            return found
        return run

    def measure(self, right, *words):
        """(exit code, what was printed, the flags of every run)."""
        seen = []
        self.script.run = self.answers(right, seen)
        out = io.StringIO()
        command = ["diffusion_accuracy", str(self.path), "--windows", "4", "--window", "64", "--block", "8", *words]
        with unittest.mock.patch.object(sys, "argv", command), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as end:
            self.script.main()
        return end.exception.code, out.getvalue(), seen

    def test_infilling_is_judged_against_the_bigrams(self):
        code, said, seen = self.measure(True, "--out", str(self.path / "out"))
        self.assertEqual(code, 0, said)
        # 64 // 7 single tokens of each of four windows.
        self.assertIn("| 1 | 36 | 100.0 ± 0.0 | 0.0 ± 0.0 | 0.0 ± 0.0 |", said)
        self.assertIn("| entropy | 32 steps | 16.00 | 100.0 ± 0.0 | 100.0 ± 0.0 |", said)
        with open(self.path / "out" / "accuracy.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        # 4 algorithms at 4 numbers of steps, 2 caches at 3, and 3 caches at 5 thresholds and 5 bounds.
        self.assertEqual(len(rows), 4 * 4 + 2 * 3 + 3 * (5 + 5))
        self.assertEqual(len(seen), 2 + 1 + len(rows))
        self.assertEqual({row["tokens_per_forward"] for row in rows}, {"16.0"})
        for series in ("origin", "entropy, dual", "threshold", "entropy bound, prefix"):
            self.assertIn(f">{series}</text>", (self.path / "out" / "accuracy.svg").read_text())
        self.assertEqual(self.measure(False)[0], 1)

    def test_the_real_program_understands_every_setting(self):
        # As it is called: without --print-config it would answer.
        options = types.SimpleNamespace(dunlin=str(DUNLIN), model=TINY, window=64, parallel=2, precision="auto")
        for series, label, flags in self.script.configurations(32, 8):
            words = [*self.script.command_of(options, ["-n", "32", *flags]), "--print-config"]
            done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  env={**os.environ, "HOME": str(self.path)})
            self.assertEqual(done.returncode, 0, f"{series}, {label}: {done.stderr}")

    def test_what_is_missing_is_said_at_once(self):
        for words, message in (([str(self.path / "nothing")], "corpus.json, which tools/train_tiny_dream.py writes"),
                               ([str(self.path), "--window", "64", "--block", "2"], "more blocks than the fewest steps"),
                               ([str(self.path), "--dunlin", str(self.path / "dunlin")], "dunlin: No such file")):
            result = run_script(BENCH / "diffusion_accuracy", *words)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(message, result.stderr)
            self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
    unittest.main()
