#!/usr/bin/env python3
"""What is kept of long runs, and what bench/load_time, plan_accuracy, typical_rates, offload, expert_routing and
compare_quantized ask and print.

    rounds_test.py FOLDER DUNLIN      (bench/, and the real program, whose flags are looked at)
"""

import contextlib
import io
import os
import pathlib
import sys
import tempfile
import types
import unittest
import unittest.mock

DUNLIN = pathlib.Path(sys.argv.pop(2)).resolve()
BENCH = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path[:0] = [str(BENCH), str(pathlib.Path(__file__).resolve().parent)]

import kept  # noqa: E402
from fake_dunlin import TINY, FakeDunlin, load_script, run_script  # noqa: E402


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        self.work = self.path / "work"
        self.work.mkdir()

    def fake(self, body):
        self.dunlin = FakeDunlin(self.path, body)
        return self.dunlin.path

    def assert_known_flags(self, *stands_for):
        self.assertEqual(self.dunlin.wrong_calls(DUNLIN, TINY, stands_for), [])


class KeptTest(Folder):
    def open(self, settings, again=False):
        with contextlib.redirect_stderr(io.StringIO()):
            return kept.Kept(self.path / "rows.json", settings, again)

    def test_rows_are_measured_once(self):
        rows = self.open({"threads": 2, "path": self.path})
        self.assertEqual(rows.row("1", lambda: {"a": (1, 2)}), {"a": [1, 2]})
        rows.row("2", lambda: 5)
        later = self.open({"threads": 2, "path": self.path})
        self.assertEqual(later.row("1", self.fail), {"a": [1, 2]})
        self.assertEqual(later.rows, {"1": {"a": [1, 2]}, "2": 5})

    def test_what_ends_a_row_leaves_the_others(self):
        rows = self.open({})
        rows.row("1", lambda: 5)
        with self.assertRaises(ZeroDivisionError):
            rows.row("2", lambda: 1 / 0)
        self.assertEqual(self.open({}).rows, {"1": 5})

    def test_a_trial_with_other_settings_costs_nothing(self):
        self.open({"threads": 2}).row("1", lambda: 5)
        trial = self.open({"threads": 1})
        self.assertEqual(trial.rows, {})
        trial.row("1", lambda: 6)
        self.assertEqual(self.open({"threads": 2}).rows, {"1": 5})
        self.assertEqual(self.open({"threads": 1}).rows, {"1": 6})

    def test_again_measures_the_rows_of_its_settings(self):
        self.open({"threads": 2}).row("1", lambda: 5)
        self.open({"threads": 1}).row("1", lambda: 6)
        again = self.open({"threads": 1}, again=True)
        self.assertEqual(again.rows, {})
        self.assertEqual(self.open({"threads": 1}).rows, {"1": 6})  # until one is measured
        again.row("2", lambda: 7)
        self.assertEqual(self.open({"threads": 1}).rows, {"2": 7})
        self.assertEqual(self.open({"threads": 2}).rows, {"1": 5})

    def test_rows_of_another_machine_or_of_other_variables_are_others(self):
        self.open({}).row("1", lambda: 5)
        with unittest.mock.patch.dict(os.environ, DUNLIN_ISA="scalar"):
            self.assertEqual(self.open({}).rows, {})
        for name in ("DUNLIN_CACHE", "DUNLIN_PACK_CACHE", "DUNLIN_TEST_DATA"):
            with unittest.mock.patch.dict(os.environ, {name: "elsewhere"}):
                self.assertEqual(self.open({}).rows, {"1": 5}, name)
        with unittest.mock.patch.object(kept, "read_if_there", lambda path: "model name: A processor\nflags: avx2\n"):
            self.assertEqual(self.open({}).rows, {})
            self.open({}).row("1", lambda: 6)
        with unittest.mock.patch.object(kept, "read_if_there", lambda path: "model name: A processor\nflags: amx\n"):
            self.assertEqual(self.open({}).rows, {})
        self.assertEqual(self.open({}).rows, {"1": 5})

    def test_files_that_are_none(self):
        for wrong in ("", "[]", "{}", '{"settings": {}, "rows": {}}', '{"runs": 5}', '{"runs": [{}]}',
                      '{"runs": [{"settings": {}, "rows": []}]}'):
            (self.path / "rows.json").write_text(wrong)
            with self.assertRaisesRegex(SystemExit, "not a file of kept rows", msg=wrong):
                self.open({})


class IdentityTest(Folder):
    def test_a_file_that_is_written_again_is_another(self):
        file, folder = self.work / "file", self.work / "folder"
        folder.mkdir()
        for path, changed in ((file, file), (folder, folder / "part")):
            changed.write_text("1")
            before = kept.identity(path)
            self.assertEqual(kept.identity(path), before)
            os.utime(changed, ns=(5, 5))
            self.assertNotEqual(kept.identity(path), before)
            before = kept.identity(path)
            changed.write_text("12")
            os.utime(changed, ns=(5, 5))
            self.assertNotEqual(kept.identity(path), before)

    def test_the_first_processor_is_read(self):
        text = "processor\t: 0\nmodel name\t: A: B\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nmodel name\t: C\n"
        self.assertEqual(kept.parse_cpuinfo(text), {"processor": "0", "model name": "A: B", "flags": "fpu avx2"})
        self.assertEqual(kept.parse_cpuinfo(""), {})


# The checkpoint loads in 4 seconds, all else in 0.5; $IDS are those of a prepared directory.
LOADED = """
if words[0] == "convert":
    os.mkdir(words[2])
    sys.exit()
prepared = words[1].endswith(".prepared")
ids = os.environ.get("IDS", "1") if prepared else "1"
say({"ids": [int(ids)], "timings": {"load_ms": 4000 if "--no-pack-cache" in words else 500, "predicted_per_second": 10.0}})
"""


class LoadTimeTest(Folder):
    def load_time(self, *flags, **environment):
        return run_script(BENCH / "load_time", self.fake(LOADED), TINY, "--work", self.work, *flags, **environment)

    def test_medians_and_ratios(self):
        result = self.load_time()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| checkpoint | 4.000 (4.000 to 4.000) |", result.stdout)
        self.assertIn("load: checkpoint / cached = 8.0 (8.0 to 8.0)", result.stdout)
        self.assertEqual(len(self.dunlin.calls("run")), 50)  # five rounds of five ways, two commands each
        self.assert_known_flags(self.work / "model.prepared")
        self.assertEqual(self.load_time("--limit", "0.4").returncode, 1)
        self.assertEqual(len(self.dunlin.calls("run")), 50)
        (self.work / "model.prepared" / "weights").write_text("others")
        self.assertEqual(self.load_time().returncode, 0)
        self.assertEqual(len(self.dunlin.calls("run")), 100)

    def test_answers_that_differ(self):
        result = self.load_time(IDS="2")
        self.assertEqual(result.returncode, 1)
        self.assertIn("the answers differ", result.stderr)


PLANNED = """
if words[0] == "plan":
    say({"per_device": {"total_bytes": 1 << 40}, "prefill": {"tokens_per_second": 220.0},
         "decode": {"tokens_per_second": 10.0}})
    sys.exit(4)
if words[0] == "bench":
    say({"results": [{"samples_ts": [200.0 if value("-p") == "512" else 10.0]}]})
"""


class PlanAccuracyTest(Folder):
    def test_ratios_are_medians_of_rounds(self):
        result = run_script(BENCH / "plan_accuracy", self.fake(PLANNED), TINY, "--contexts", "64", "--time", "--rounds", "5")
        self.assertEqual(result.returncode, 1, result.stderr)  # far below the plan
        self.assertIn("| model | 64 | first | 1048576.0 |", result.stdout)
        self.assertIn("| model | prefill | calibrated | 1.10 (1.10 to 1.10) | 15 %: yes |", result.stdout)
        self.assertIn("load average", result.stdout)
        self.assertIn("prefill typical 1.10, prefill calibrated 1.10", result.stderr)
        self.assertEqual(len(self.dunlin.calls("bench")), 10)
        self.assert_known_flags()
        few = run_script(BENCH / "plan_accuracy", self.dunlin.path, TINY, "--rounds", "2")
        self.assertIn("at least 5", few.stderr)


CALIBRATED = """
rate = {"Q4_0": 4e9, "F32": 2e9}
say({"isa": os.environ["DUNLIN_ISA"], "hertz": 2e9, "threads": 2, "attention_flops": 4e9, "element_seconds": 1e-9,
     "prompt_score_seconds": 1e-9, "generated_score_seconds": 1e-9, "step_seconds": 1e-6, "kv_fraction": 0.9,
     "formats": [{"format": name, "prompt_flops": flops, "generated_flops": flops, "decode_fraction": 0.8}
                 for name, flops in rate.items()]})
"""


class TypicalRatesTest(Folder):
    def test_sets_take_turns(self):
        result = run_script(BENCH / "typical_rates", self.fake(CALIBRATED), "--isa", "avx512,avx2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(self.dunlin.calls("plan")), 10)
        self.assertIn("| avx2 | median (least to largest) |", result.stdout)
        self.assertIn("| prompt | 1 (1 to 1) |", result.stdout)
        self.assertIn("round 5 of 5, avx2", result.stderr)
        self.assert_known_flags()


# A budget below a megabyte is too small.
OFFLOADED = """
budget = int(os.environ.get("DUNLIN_MEMORY_BUDGET", "0"))
if 0 < budget < 1000000:
    print("warning: something", file=sys.stderr)
    sys.exit("error: no room for one token | really")
if words[0] == "run":
    say({"ids": [1, 2, 3]})
else:
    say({"results": [{"n_gen": 64, "samples_ts": [5.0, 6.0, 7.0], "load_average": 1.25,
                      "offload": {"budget_bytes": budget, "pinned_bytes": 1000, "locked": True, "expert_hit_rate": 0.5,
                                  "read_bytes": 321e6}}]})
"""


class OffloadTest(Folder):
    def test_a_limit_that_is_too_small_is_a_line(self):
        model = self.path / "model"
        model.mkdir()
        with open(model / "weights-00001-of-00001.dunlin", "wb") as file:
            file.truncate(2_000_000)
        result = run_script(BENCH / "offload", self.fake(OFFLOADED), "--model", model, "--limit", "budget", "--fractions",
                            "1.0,0.25,0.75")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("| 0.00 GB | 1.00 | budget | 0.00 GB | 0.00 GB | 50.0 % | 1.0 MB | 6.00 (5.00 to 7.00) | 1.25 |",
                      result.stdout)
        self.assertIn("| 0.25 | budget | no room for one token / really |", result.stdout)
        self.assertIn("| 0.75 | budget | 0.00 GB |", result.stdout)
        self.assert_known_flags(model)

    def test_a_group_that_cannot_be_removed_ends_nothing(self):
        script = load_script(BENCH / "offload")
        group = script.Group.__new__(script.Group)
        group.folder = self.work
        (self.work / "busy").write_text("")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            group.close()
        self.assertIn(str(self.work), said.getvalue())


# A step takes 0.1 s of even routing, and 0.05 of Zipf's, which reads half of the experts.
ROUTED = """
uneven = any("zipf" in word for word in words)
if words[0] == "inspect":
    say({"config": {"num_hidden_layers": 8, "num_local_experts": 32, "intermediate_size": 64, "hidden_size": 32}})
elif words[0] == "run":
    tokens = int(value("-n"))
    uses = 100 + (tokens - 1) * 8 * (10 if uneven else 20)
    for line in open(value("--prompts")):
        ids = json.loads(line)["ids"]
        say({"ids": ids[:1] * tokens, "backend": {"offload": {"expert_uses": uses}}})
else:
    seconds = 1 + (int(value("-n")) - 1) * (0.05 if uneven else 0.1)
    say({"results": [{"rows": [{"batch": int(value("--batch")), "samples_seconds": [seconds]}], "issues": []}]})
"""


class ExpertRoutingTest(Folder):
    def test_uneven_routing_beside_even(self):
        models = [self.work / f"gpt-oss-20b-MXFP4-8layers{end}.gguf" for end in ("", "-zipf")]
        for model in models:
            model.write_text("")
        flags = ("--work", self.work, "--dunlin", self.fake(ROUTED), "-t", "1")
        result = run_script(BENCH / "expert_routing", *flags)
        self.assertEqual(result.returncode, 0, result.stderr)
        # Of one expert 3 x 64 x 32 weights are 3,264 bytes, and 160 biases 640.
        self.assertIn("| even | 16 | 20.0 of 32 | 0.001 GB | 100.0 (100.0 to 100.0) | 6.25 (6.25 to 6.25) "
                      "| 1.00 (1.00 to 1.00) |", result.stdout)
        self.assertIn("| Zipf 1.0 | 64 | 10.0 of 32 | 0.000 GB | 50.0 (50.0 to 50.0) | 0.78 (0.78 to 0.78) "
                      "| 0.50 (0.50 to 0.50) |", result.stdout)
        self.assert_known_flags(*models)
        # Prompts are one step, of what is counted and of what is timed.
        asked_rows = {(words[0], words[words.index("-ub") + 1]) for words in self.dunlin.calls() if "-ub" in words}
        self.assertEqual(asked_rows, {(command, rows) for command in ("run", "bench") for rows in ("256", "1024")})
        self.assertTrue(all("--precision" in words for words in self.dunlin.calls("run")))
        asked = len(self.dunlin.calls())
        self.assertEqual(run_script(BENCH / "expert_routing", *flags).stdout.splitlines()[2:], result.stdout.splitlines()[2:])
        self.assertEqual(len(self.dunlin.calls()), asked + 2)  # the version, and what the shape is


class CompareQuantizedTest(Folder):
    def load(self):
        """The script, without the libraries that it runs beside dunlin."""
        names = ("gguf", "llama_cpp", "numpy", "make_llama_cpp_goldens")
        with unittest.mock.patch.dict(sys.modules, {name: types.ModuleType(name) for name in names}):
            return load_script(BENCH / "compare_quantized")

    def test_what_is_asked_of_dunlin(self):
        script = self.load()
        options = types.SimpleNamespace(dunlin=self.fake('say({"kl_mean": 0.5})\n'), text="text.txt", chunks=2)
        script.write_ids, script.read_logits = (lambda path, ids: path.write_text(str(ids))), (lambda path: path.name)
        self.assertEqual(script.our_logits(options, TINY, [1, 2, 3], "auto", self.path), "dump.safetensors")
        self.assertEqual(script.divergence(options, TINY, TINY), 0.5)
        self.assertIn("--ref", self.dunlin.calls("verify")[0])
        self.assert_known_flags()


if __name__ == "__main__":
    unittest.main()
