#!/usr/bin/env python3
"""What bench/targets makes of measurements, and that a run goes on where it ended.

    targets_test.py FOLDER      (bench/)
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

BENCH = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(BENCH))

import measure  # noqa: E402
import target_rows  # noqa: E402
import target_table  # noqa: E402
from peers.base import Unavailable  # noqa: E402

DUNLIN = """#!/bin/sh
case "$1 $2" in
  "devices --json") echo '{"cpu": {"model": "A processor", "isa": ["scalar", "avx2"]}}' ;;
  "version --json") echo '{"version": "0.1.0", "compiler": "g++ 12.2.0"}' ;;
  "bench model")
    echo "$*" >> "$FAKE/calls"
    case "$*" in *"-r 1 -t 1 --precision auto --json -p 0 -n 32 -d 16") ;; *) exit 8 ;; esac
    cat "$FAKE/result" ;;
  *) exit 9 ;;
esac
"""


def row(**more):
    settings = {"key": "k", "title": "a title", "must": 0.8, "goal": 0.9, "unit": "", "measure": None, "command": "c", **more}
    return target_table.Target(**settings)


def kept(*figures, busy=0.0, note="", build="b"):
    return {"figures": list(figures), "note": note, "busy": busy, "build": build}


class TableTest(unittest.TestCase):
    def test_verdicts(self):
        for figure, verdict in ((0.79, "NOT MET"), (0.8, "must"), (0.89, "must"), (0.9, "goal")):
            self.assertEqual(row().verdict(figure), verdict)
            self.assertEqual(row(goal=None).verdict(figure), "must" if figure >= 0.8 else "NOT MET")
        most = row(must=2.0, goal=1.0, at_most=True)
        for figure, verdict in ((2.1, "NOT MET"), (2.0, "must"), (1.0, "goal")):
            self.assertEqual(most.verdict(figure), verdict)

    def test_lines(self):
        self.assertEqual(target_table.table_line(row(), kept(0.7, 0.85, 0.95), None),
                         "| a title | auto | ≥ 0.8 | 0.9 | 0.850 (0.700 to 0.950) | must | `c` |\n")
        seconds = row(unit="s", at_most=True, must=2.0, goal=None, profile="fast")
        line = target_table.table_line(seconds, kept(3.0, note="of load_ms"), None)
        self.assertEqual(line, "| a title | fast | ≤ 2 s | - | 3.00 (3.00 to 3.00) s | NOT MET; of load_ms | `c` |\n")
        disturbed = target_table.table_line(row(), kept(0.95, busy=0.25), None)
        self.assertIn("| goal, disturbed: other programs took 25 % |", disturbed)
        self.assertIn("| | no kernels_bench |", target_table.table_line(row(), None, "no kernels_bench"))
        self.assertIn("| | not measured yet |", target_table.table_line(row(), None, None))

    def test_several_builds_are_named(self):
        results = types.SimpleNamespace(rows={"k": kept(1.0, build="one"), "l": kept(1.0, build="two")})
        text = target_table.table([row(), row(key="l")], results, {})
        self.assertIn("Of several builds: one; two.", text)

    def test_sets_that_the_processor_lacks(self):
        self.assertIsNone(target_table.missing_sets(row(needs=("avx2",)), ["scalar", "avx2"]))
        self.assertEqual(target_table.missing_sets(row(needs=("amx",)), ["scalar", "avx2"]), "not on this machine: no AMX")

    def test_only_measured_rows_can_fail(self):
        results = types.SimpleNamespace(rows={"k": kept(0.85)})
        self.assertTrue(target_table.all_musts_met([row(), row(key="l")], results))
        results.rows["l"] = kept(0.1, 0.2, 0.95)
        self.assertFalse(target_table.all_musts_met([row(), row(key="l")], results))


class ResultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "targets.json"

    def open(self, machine="A processor", threads=2):
        return target_table.Results(self.path, machine, threads)

    def test_rows_are_there_again(self):
        self.open().keep("k", [1.0, 2.0], "a note", 0.01, "a build")
        self.open().keep("l", [3.0], "", None, "a build")
        rows = self.open().rows
        self.assertEqual(rows["k"]["figures"], [1.0, 2.0])
        self.assertEqual((rows["k"]["note"], rows["l"]["busy"]), ("a note", None))

    def test_a_trial_of_few_rounds_is_not_taken_for_more(self):
        results = self.open()
        results.keep("k", [1.0] * 5, "", 0.0, "b")
        self.assertEqual([results.has("k", rounds) for rounds in (4, 5, 6)], [True, True, False])
        self.assertFalse(results.has("l", 1))

    def test_of_another_machine(self):
        self.open().keep("k", [1.0], "", 0.0, "b")
        for machine, threads in (("Another", 2), ("A processor", 1)):
            with self.assertRaisesRegex(measure.Failed, "name another --work"):
                self.open(machine, threads)

    def test_files_that_are_none(self):
        head = {"schema_version": 1, "machine": "A processor", "threads": 2}
        for wrong in ("", "[]", "{}", json.dumps(head), json.dumps({**head, "rows": []}),
                      json.dumps({**head, "rows": {"k": {}}}), json.dumps({**head, "rows": {"k": kept()}}),
                      json.dumps({**head, "rows": {"k": kept("fast")}}),
                      json.dumps({**head, "rows": {"k": kept(1.0, busy="x")}}),
                      json.dumps({**head, "rows": {"k": kept(1.0, note=None)}})):
            self.path.write_text(wrong)
            with self.assertRaisesRegex(measure.Failed, "not a file of bench/targets", msg=wrong):
                self.open()


class RowsTest(unittest.TestCase):
    def test_keys_are_unique_and_musts_below_goals(self):
        targets = target_rows.all_targets()
        self.assertEqual(len({target.key for target in targets}), len(targets))
        for target in targets:
            self.assertNotIn("|", target.title + target.command)
            if target.goal is not None:
                self.assertTrue(target.goal < target.must if target.at_most else target.goal > target.must, target.key)

    def test_figures_of_the_table(self):
        known = {target.key: (target.must, target.goal) for target in target_rows.all_targets()}
        for key, figures in {"decode-1B-Q4_0": (0.88, 0.95), "decode-8B-MXFP4": (0.85, 0.92), "peer-1B-Q4_0-Q6_K": (1.5, 1.8),
                             "peer-best-8B": (1.0, 1.15),
                             "depth-8B-8192": (0.80, 0.87), "depth-1B-llama": (2.5, None), "prefill-exact-8B": (0.45, 0.60),
                             "prefill-best-1B": (1.8, None), "batch-1B-32": (10, 14), "batch-best-8B": (1.5, None),
                             "attention-64-8192": (0.16, 0.30), "smollm2-batch-32": (2.0, 4.0), "start-8B": (2.0, 1.0),
                             "isa-avx512-prefill": (1.0, 1.3), "memory-8B": (1.02, None), "moe-decode": (0.85, None),
                             "moe-llama-decode": (1.15, None), "moe-llama-prefill": (3.0, None)}.items():
            self.assertEqual(known[key], figures, key)

    def test_bytes_of_keys_and_values_count(self):
        config = {"num_hidden_layers": 16, "num_key_value_heads": 8, "head_dim": 64}
        self.assertEqual(target_rows.kv_bytes(config, 1), 32768)
        self.assertEqual(target_rows.kv_bytes(config, 2, "int8", "int8"), 2 * 16 * 8 * 2 * (64 + 4))
        # 32 tokens in 3.2 s, 1 GB of weights each: 10 GB/s; with 64 MiB of keys and values behind 2,048 positions and 16 more.
        result = {"n_gen": 32, "avg_ns": 3.2e9, "weights_gb_s": 10.0, "n_depth": 2048, "stream_gb_s": 20.0, "type_k": "bf16",
                  "type_v": "bf16"}
        self.assertAlmostEqual(target_rows.depth_fraction(result, config), (1e9 + 32768 * 2064) / 0.1 / 20e9)

    def bench(self, pairs, **more):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "compare.json"
        path.write_text(json.dumps({"threads": 2, "rounds": 2, "precision": "auto", "pairs": pairs, **more}))
        return types.SimpleNamespace(compare_json=path, context=types.SimpleNamespace(threads=2), busy=[], rounds=2)

    PAIRS = [
        {"model": "llama-3.2-1b Q4_0", "test": "prefill 512", "peer": "slow", "weights": "Q4", "problem": None,
         "ours": [1200.0, 1300.0], "theirs": [100.0, 200.0], "busy": [0.05, 0.01]},
        {"model": "llama-3.2-1b BF16", "test": "prefill 512", "peer": "fast", "weights": "BF16", "problem": None,
         "ours": [1000.0, 1000.0], "theirs": [600.0, 700.0], "busy": [0.2]},
        {"model": "llama-3.2-1b Q8_0", "test": "prefill 512", "peer": "none", "weights": "int8", "problem": "not there",
         "ours": [], "theirs": [], "busy": []},
        {"model": "llama-3.1-8b Q4_0", "test": "prefill 512", "peer": "slow", "weights": "Q4", "problem": None,
         "ours": [9000.0], "theirs": [9000.0], "busy": [0.9]},
    ]

    def test_the_best_engine_in_any_format(self):
        bench = self.bench(self.PAIRS)
        ratios, note = target_rows.against_best_peer(bench, "llama-3.2-1b", target_rows.PREFILL)
        self.assertEqual(ratios, [1200 / 650, 1300 / 650])
        self.assertEqual(note, "best: fast (BF16)")
        self.assertEqual(max(bench.busy), 0.2)  # when the engines ran, not when their file was read

    def test_other_programs_are_counted_while_a_figure_is_measured(self):
        shares = iter([0.0, 0.5])
        bench = target_rows.Bench(None, 2, "kernels_bench", None)
        with unittest.mock.patch.object(measure.OtherCpu, "__exit__", lambda other, *_: setattr(other, "share", next(shares))):
            self.assertEqual(bench.each_round(lambda: 3.0), [3.0, 3.0])
        self.assertEqual(bench.busy, [0.0, 0.5])

    def started(self, starts):
        """A bench of two rounds, of whose starts each is (whether packed before, load_ms, prompt_ms)."""
        answers = iter(starts)

        def answer(command, pinned):
            packed, load_ms, prompt_ms = next(answers)
            return {"timings": {"load_ms": load_ms, "prompt_ms": prompt_ms}, "backend": {"packed_before": packed}}

        context = types.SimpleNamespace(dunlin="dunlin", threads=2, execute_json=answer)
        bench = target_rows.Bench(context, 2, "kernels_bench", None)
        bench.model = lambda shape, types: "model.gguf"
        return bench

    def test_a_second_start_ends_with_its_first_token(self):
        bench = self.started([(False, 90000.0, 700.0), (True, 400.0, 300.0), (True, 500.0, 100.0)])
        self.assertEqual(target_rows.second_start(bench)[0], [0.7, 0.6])
        with self.assertRaisesRegex(Unavailable, "did not come from the cache"):
            target_rows.second_start(self.started([(False, 90000.0, 700.0)] * 3))

    def test_rows_that_ask_kernels_bench_say_so(self):
        asking = {target.key for target in target_rows.all_targets() if target.kernels}
        self.assertEqual(asking, {target.key for target in target_rows.all_targets() if "kernels_bench" in target.command})

    def test_a_kernel_that_there_is_not(self):
        context = types.SimpleNamespace(execute=lambda command, pinned: "")
        bench = target_rows.Bench(context, 5, sys.executable, None)
        with self.assertRaisesRegex(Unavailable, "has no tile_peak_bf16_amx/real_time/threads:2"):
            bench.tile_peak("bf16", 2)
        rates = {"benchmarks": [{"name": "tile_peak_int8_amx/real_time/threads:1", "FLOP/s": 2.5}, {"name": "other"}]}
        context.execute = lambda command, pinned: json.dumps(rates)
        self.assertEqual(bench.tile_peak("int8", 1), 2.5)

    def test_results_of_compare_that_do_not_serve(self):
        for bench, message in ((self.bench([]), "have no prefill 512"), (self.bench(self.PAIRS, threads=1), "1 threads"),
                               (self.bench(self.PAIRS[1:]), "have no Q4_0"),
                               (self.bench(self.PAIRS, rounds=5), "of a run that was ended: 2 of 5 rounds of llama-3.2-1b"),
                               (self.bench(self.PAIRS, rounds=1), "of 1 rounds: bench/compare --rounds 2"),
                               (self.bench(self.PAIRS, precision="int8"), "precision int8"), (self.bench([{}]), "not of")):
            with self.assertRaisesRegex(Unavailable, message):
                target_rows.against_best_peer(bench, "llama-3.2-1b", target_rows.PREFILL)
        bench.compare_json.unlink()
        with self.assertRaisesRegex(Unavailable, "bench/compare --shapes llama-3.2-1b writes it"):
            target_rows.against_best_peer(bench, "llama-3.2-1b", target_rows.PREFILL)


class ScriptTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        (self.path / "dunlin").write_text(DUNLIN)
        (self.path / "dunlin").chmod(0o755)
        models = self.path / "work" / "models"
        models.mkdir(parents=True)
        (models / "llama-3.2-1b-Q4_0.gguf").write_text("")
        self.fraction(0.91)

    def fraction(self, value):
        (self.path / "result").write_text(json.dumps({"results": [{"bandwidth_fraction": value}]}))

    def run_script(self, *flags):
        command = [sys.executable, BENCH / "targets", "--work", self.path / "work", "--dunlin", self.path / "dunlin",
                   "-t", "1", "--rounds", "5", *flags]
        return subprocess.run([str(word) for word in command], env={**os.environ, "FAKE": str(self.path)}, capture_output=True,
                              text=True)

    def calls(self):
        return len((self.path / "calls").read_text().splitlines())

    def test_a_row_is_measured_once(self):
        first = self.run_script("--rows", "decode-1B-Q4_0,attention-64-2048")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("| 0.910 (0.910 to 0.910) | must", first.stdout)
        self.assertIn("| | not on this machine: no AMX |", first.stdout)
        self.assertEqual(self.calls(), 5)
        self.fraction(0.5)
        second = self.run_script("--rows", "decode-1B-Q4_0")
        self.assertIn("| 0.910 (0.910 to 0.910) | must", second.stdout)
        self.assertEqual(self.calls(), 5)
        (self.path / "result").write_text("not JSON")
        kept = self.run_script("--rows", "decode-1B-Q4_0", "--again")
        self.assertIn("| 0.910 (0.910 to 0.910) | must", kept.stdout)
        self.assertIn("; of an earlier run, this time: dunlin printed no JSON", kept.stdout)
        self.assertEqual(self.calls(), 6)
        self.fraction(0.5)
        again = self.run_script("--rows", "decode-1B-Q4_0", "--again")
        self.assertEqual(again.returncode, 1)
        self.assertIn("| 0.500 (0.500 to 0.500) | NOT MET", again.stdout)
        self.assertEqual(self.calls(), 11)

    def test_a_row_that_fails_is_said_and_tried_again(self):
        (self.path / "result").write_text("not JSON")
        failed = self.run_script("--rows", "decode-1B-Q4_0")
        self.assertEqual(failed.returncode, 2)
        self.assertIn("dunlin printed no JSON", failed.stdout)
        (self.path / "result").write_text('{"results": []}')
        self.assertIn("ValueError", self.run_script("--rows", "decode-1B-Q4_0").stdout)
        self.fraction(0.96)
        measured = self.run_script("--rows", "decode-1B-Q4_0")
        self.assertEqual(measured.returncode, 0)
        self.assertIn("| goal", measured.stdout)

    def test_a_program_that_is_missing_is_told_before_hours_are_spent(self):
        (self.path / "dunlin").write_text(DUNLIN.replace('"scalar", "avx2"', '"scalar", "avx2", "amx"'))
        flags = ("--rows", "decode-1B-Q4_0,prefill-exact-1B", "--kernels-bench", self.path / "kernels_bench")
        result = self.run_script(*flags)
        self.assertEqual(result.returncode, 1)
        self.assertIn("kernels_bench is not built, which prefill-exact-1B need", result.stderr)
        self.assertFalse((self.path / "calls").exists())

    def test_rows_that_there_are_not(self):
        result = self.run_script("--rows", "decode-2B-*")
        self.assertEqual(result.returncode, 2)
        self.assertIn("no row has such a key", result.stderr)
        listed = self.run_script("--list", "--rows", "start-*")
        self.assertEqual(listed.stdout.split()[0], "start-8B")


if __name__ == "__main__":
    unittest.main()
