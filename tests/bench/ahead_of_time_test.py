#!/usr/bin/env python3
"""What bench/ahead_of_time asks, keeps and writes, with a dunlin that says what the test wants.

    ahead_of_time_test.py FOLDER      (bench/)
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest

BENCH = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(BENCH))

import ahead_rows  # noqa: E402
import ahead_table  # noqa: E402
import measure  # noqa: E402

# `compile` prints the file of its topology; where there is none the model does not fit.
DUNLIN = """#!/bin/sh
echo "$*" >> "$FAKE/calls"
case "$1" in
  version) echo '{"version": "0.1.0", "compiler": "g++ 12.2.0"}' ;;
  plan) cat "$FAKE/plan"; exit 4 ;;
  compile)
    while [ "$1" != --topology ]; do shift; done
    if [ -f "$FAKE/$2" ]; then cat "$FAKE/$2"; exit 0; fi
    if [ -f "$FAKE/broken" ]; then echo 'error: no plug-in' >&2; exit 5; fi
    echo 'warning: something else' >&2
    echo "error: --topology $2: needs 20.00 GiB, 4.25 GiB more than the 15.75 GiB of a device" >&2
    exit 4 ;;
  *) exit 9 ;;
esac
"""

DECODE_NAME = "8x1 rows, 8 logit rows, 2048 positions"
PROMPT_NAME = "1x512 rows, 1 logit rows, 2048 positions"


def program(name, estimated_seconds=None, temporary=1e6):
    cycles = None if estimated_seconds is None else 1000
    return {"name": name, "from_cache": False, "seconds": 12.34, "argument_bytes": 10e9, "output_bytes": 2.5e6,
            "aliased_bytes": 2e6, "temporary_bytes": temporary, "code_bytes": 0, "total_bytes": 10.5e9,
            "estimated_cycles": cycles, "estimated_seconds": estimated_seconds,
            "open_loops": None if cycles is None else 1,
            "operations": [] if cycles is None else [
                {"name": "layers.*.mlp.gate", "opcode": "fusion", "count": 80, "estimated_cycles": 600},
                {"name": "copy", "opcode": "copy", "count": 2, "estimated_cycles": 50}]}


def compiled_json(programs, capacity=None):
    return {"plugin": "/a/folder/libtpu.so", "programs": programs,
            "per_device": {"weights_bytes": 9e9, "kv_bytes": 1e9, "weight_forms": "linear: i8", "capacity_bytes": capacity}}


# The memory's roof is 8 ms, a prompt's peak 3 ms.
PLAN = {"decode": {"seconds": 0.011, "best_tokens_per_second": 800.0,
                   "step": {"compute_seconds": 0.001, "memory_seconds": 0.008, "interconnect_seconds": 0.002}},
        "prefill": {"step": {"compute_seconds": 0.003, "memory_seconds": 0.002, "interconnect_seconds": 0.001}},
        "per_device": {"capacity_bytes": 17e9}}

PAGE = "# A page\n\n" + "".join(f"<!-- table: {name} -->\nold\n<!-- end -->\n\n" for name in ahead_table.TABLES)


def row_of(key):
    (row,) = [row for row in ahead_rows.all_rows() if row.key == key]
    return row


class RowsTest(unittest.TestCase):
    def test_keys_are_unique_and_models_are_there(self):
        rows = ahead_rows.all_rows()
        self.assertEqual(len({row.key for row in rows}), len(rows))
        for row in rows:
            self.assertTrue((ahead_rows.MODELS / f"{row.model}.json").is_file(), row.model)
            self.assertNotIn("|", row.title)

    def test_the_rows_that_are_wanted(self):
        rows = {(row.model, place.topology, place.mesh, row.batch, row.context)
                for row in ahead_rows.all_rows() for place in row.places}
        for wanted in (("llama-3.1-70b", "v5e:4x4", "model=16", 8, 2048), ("llama-3.1-70b", "v5e:4x4", "model=16", 32, 8192),
                       ("llama-3.1-70b", "v5e:4x4", "data=2,model=8", 8, 2048),
                       ("llama-3.1-70b", "v5e:4x4", "data=2,model=8", 32, 8192), ("llama-3.1-8b", "v5e:1x1", "", 8, 2048),
                       ("gpt-oss-20b", "v6e:2x2", "model=4", 8, 2048),
                       ("dream-7b", "v4:2x2x1", "data=2,model=4", 2, 512), ("llama-3.1-70b", "h200", "", 8, 2048)):
            self.assertIn(wanted, rows)

    def test_meshes_have_the_devices_of_their_places(self):
        for row in ahead_rows.all_rows():
            for place in row.places:
                product = 1
                for axis in place.mesh.split(","):
                    product *= int(axis.split("=")[1]) if axis else 1
                self.assertEqual(place.device[place.device.index("--devices") + 1], str(product), (row.key, place))

    def test_programs_are_named_as_compile_names_them(self):
        row = row_of("70b-tp16-8x2048")
        self.assertEqual(row.programs(row.places[0]), {"decode": DECODE_NAME, "loop": f"{DECODE_NAME}, 8 steps",
                                                       "prompt": PROMPT_NAME})
        # Half of the batch is on each half of the devices.
        row = row_of("70b-dp2tp8-32x8192")
        self.assertEqual(row.programs(row.places[0])["decode"], "16x1 rows, 16 logit rows, 8192 positions")
        # Seven sequences on two parts are four slots of each.
        odd = ahead_rows.Row("k", "t", "dream-7b", row.places, 7, 64)
        self.assertEqual(odd.programs(row.places[0])["decode"], "4x1 rows, 4 logit rows, 64 positions")

    def test_commands(self):
        row = row_of("70b-dp2tp8-8x2048")
        words = [str(word) for word in row.compile_command("dunlin", row.places[0])]
        self.assertEqual(words[:2], ["dunlin", "compile"])
        self.assertTrue(words[2].endswith("docs/planning/llama-3.1-70b.json"))
        self.assertEqual(words[3:], ["--topology", "v5e:4x4", "--mesh", "data=2,model=8", "-c", "2048", "--parallel", "8",
                                     "-ub", "512", "--quantize", "int8", "--output-type", "bf16", "--steps-per-call", "1",
                                     "-t", "1", "--only", "4x1 rows, 4 logit rows, 2048 positions", "--only", PROMPT_NAME,
                                     "--json", "-q"])
        words = [str(word) for word in row.plan_command("dunlin", row.places[0])]
        self.assertEqual(words[3:], ["--device", "v5e", "--devices", "16", "--mesh", "data=2,model=8", "-c", "2048",
                                     "--parallel", "8", "-ub", "512", "--prompt", "512", "--fill", "1", "--quantize", "int8",
                                     "--output-type", "bf16", "--json"])
        loop = row_of("8b-v5e")
        self.assertIn("--steps-per-call 8", " ".join(map(str, loop.compile_command("dunlin", loop.places[0]))))
        canvas = row_of("dream-v4")
        words = " ".join(map(str, canvas.plan_command("dunlin", canvas.places[0])))
        self.assertIn("--device v4 --devices 8 --split-cores --mesh data=2,model=4", words)
        self.assertIn("--prompt 511 -n 1", words)


def kept(programs, mesh="model=16"):
    plan = {"decode": {**PLAN["decode"]["step"], "seconds": 0.011, "best_seconds": 0.01}, "prefill": PLAN["prefill"]["step"]}
    return {"refused": [], "compiled": {"topology": "v5e:4x4", "mesh": mesh, "plugin": "libtpu==0.0.51", "build": "a build",
                                        "capacity_bytes": 17e9, "plan": plan, "programs": programs}}


def results_of(rows):
    return types.SimpleNamespace(rows=rows)


class TableTest(unittest.TestCase):
    def setUp(self):
        self.rows = [row_of("70b-tp16-8x2048")]
        # 8 ms of 12.5, and 3 ms of 4.
        self.results = results_of({"70b-tp16-8x2048": kept({"decode": program(DECODE_NAME, 0.0125),
                                                            "prompt": program(PROMPT_NAME, 0.004)})})

    def test_bytes(self):
        text = ahead_table.memory_table(self.rows, self.results)
        figures = "10.00 | 0.50 | 1.0 | 10.50 | 17.00 | 12.3"
        self.assertIn(f"| Llama-3.1-70B, int8 | v5e:4x4, model=16 | {DECODE_NAME} | {figures} |", text)
        self.assertEqual(len(text.splitlines()), 4)

    def test_estimates_beside_roofs_and_what_was_published(self):
        text = ahead_table.decode_table(self.rows, self.results)
        # 159 tokens/s of a sequence are 6.29 ms.
        self.assertIn("| 8 x 2048 | 12.50 | 8.00 | 64 % | 10.00 | 11.00 | 6.29 |", text)
        text = ahead_table.prefill_table(self.rows, self.results)
        self.assertIn(f"| {PROMPT_NAME} | 4.00 | 3.00 | 75 % | 2.00 | 1.00 |", text)

    def test_operations_of_what_is_below_its_goal(self):
        text = ahead_table.operations_table(self.rows, self.results)
        self.assertIn(f"| {DECODE_NAME} | 64 % | layers.*.mlp.gate (fusion, 80) 60 %; copy (copy, 2) 5 % | 1 |", text)
        self.assertNotIn(PROMPT_NAME, text)
        programs = self.results.rows["70b-tp16-8x2048"]["compiled"]["programs"]
        programs["decode"]["estimated_seconds"] = 0.0101  # 79.2 %
        programs["prompt"]["estimated_seconds"] = 0.0051  # 58.8 %
        text = ahead_table.operations_table(self.rows, self.results)
        self.assertIn("| 79 % |", text)
        self.assertIn("| 59 % |", text)
        programs["decode"]["estimated_seconds"], programs["prompt"]["estimated_seconds"] = 0.0099, 0.0049
        self.assertEqual(ahead_table.operations_table(self.rows, self.results),
                         "No program with an estimate is below its goal.")

    def test_a_plugin_without_estimates(self):
        self.results.rows["70b-tp16-8x2048"] = kept({"decode": program(DECODE_NAME), "prompt": program(PROMPT_NAME)})
        self.assertIn("| - | 8.00 | - | 10.00 |", ahead_table.decode_table(self.rows, self.results))
        self.assertEqual(ahead_table.operations_table(self.rows, self.results),
                         "No program with an estimate is below its goal.")

    def test_refusals(self):
        self.results.rows["405b-v5e"] = {"refused": [{"topology": "v5e:4x4", "mesh": "model=16", "said": "needs a|b"}],
                                         "compiled": None}
        text = ahead_table.refused_table(ahead_rows.all_rows(), self.results)
        self.assertIn("| Llama-3.1-405B, int8 | v5e:4x4, model=16 | 8 x 2048 | needs a/b |", text)
        self.assertEqual(ahead_table.refused_table(self.rows, self.results), "No row was refused.")
        self.assertNotIn("405B", ahead_table.memory_table(ahead_rows.all_rows(), self.results))

    def test_what_is_missing_is_said(self):
        rows = [*self.rows, row_of("8b-v5e")]
        self.assertEqual(ahead_table.made_by(rows, self.results),
                         "Compiled by libtpu==0.0.51, with a build. Not compiled yet: 8b-v5e.")
        for text in ahead_table.all_tables(rows, results_of({})).values():
            self.assertEqual(text, ahead_table.NOTHING)

    def test_tables_stand_in_their_places(self):
        tables = ahead_table.all_tables(self.rows, self.results)
        once = ahead_table.with_tables(PAGE, tables)
        self.assertNotIn("old", once)
        self.assertEqual(ahead_table.with_tables(once, tables), once)
        with self.assertRaisesRegex(measure.Failed, "no place for the table decode"):
            ahead_table.with_tables(PAGE.replace("table: decode", "table: other"), tables)

    def test_the_page_has_a_place_for_each(self):
        page = (measure.ROOT / "docs" / "tpu.md").read_text()
        ahead_table.with_tables(page, ahead_table.all_tables(self.rows, self.results))


class ResultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "ahead_of_time.json"

    def test_rows_are_there_again(self):
        results = ahead_table.Results(self.path)
        results.keep("k", kept({"decode": program(DECODE_NAME, 0.01)}))
        results.keep("l", {"refused": [{"topology": "a", "mesh": "", "said": "b"}], "compiled": None})
        self.assertEqual(ahead_table.Results(self.path).rows, results.rows)

    def test_files_that_are_none(self):
        row = kept({"decode": program(DECODE_NAME, 0.01)})
        wrong_rows = [{}, {"refused": [], "compiled": None}, {"refused": [{}], "compiled": None},
                      {"refused": [{"topology": 1, "mesh": "", "said": ""}], "compiled": None}]
        for path, value in ((("topology",), 1), (("capacity_bytes",), "x"), (("plan", "decode", "seconds"), "x"),
                            (("plan", "prefill"), {}), (("programs", "decode", "seconds"), None),
                            (("programs", "decode", "estimated_seconds"), "x"), (("programs", "decode", "operations"), [{}]),
                            (("programs", "decode", "name"), 1), (("programs", "decode", "estimated_cycles"), None),
                            (("programs", "decode", "estimated_cycles"), 0), (("programs", "decode", "open_loops"), None),
                            (("programs", "decode", "operations"), [{"name": "a", "opcode": "b", "estimated_cycles": 1}])):
            wrong = copy.deepcopy(row)
            inner = wrong["compiled"]
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
            wrong_rows.append(wrong)
        texts = ["", "[]", "{}", json.dumps({"schema_version": 2, "rows": {}}), json.dumps({"schema_version": 1, "rows": []})]
        for text in texts + [json.dumps({"schema_version": 1, "rows": {"k": wrong}}) for wrong in wrong_rows]:
            self.path.write_text(text)
            with self.assertRaisesRegex(measure.Failed, "not a file of bench/ahead_of_time", msg=text):
                ahead_table.Results(self.path)


class ScriptTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        (self.path / "dunlin").write_text(DUNLIN)
        (self.path / "dunlin").chmod(0o755)
        (self.path / "page.md").write_text(PAGE)
        (self.path / "plan").write_text(json.dumps(PLAN))

    def compiles(self, topology, programs, capacity=None):
        (self.path / topology).write_text(json.dumps(compiled_json(programs, capacity)))

    def run_script(self, *flags):
        command = [sys.executable, BENCH / "ahead_of_time", "--work", self.path / "work", "--dunlin", self.path / "dunlin",
                   "--document", self.path / "page.md", *flags]
        return subprocess.run([str(word) for word in command], env={**os.environ, "FAKE": str(self.path)}, capture_output=True,
                              text=True)

    def compilations(self):
        return [line for line in (self.path / "calls").read_text().splitlines() if line.startswith("compile")]

    def test_a_row_is_compiled_once_and_written(self):
        self.compiles("v5e:4x4", [program(DECODE_NAME, 0.01), program(f"{DECODE_NAME}, 8 steps"), program(PROMPT_NAME, 0.01)])
        first = self.run_script("--only", "70b-tp16-8x*")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("| 8 x 2048 | 10.00 | 8.00 | 80 % |", first.stdout)
        self.assertEqual((self.path / "page.md").read_text(), PAGE)
        second = self.run_script("--only", "70b-tp16-8x*", "--update")
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertEqual(second.stdout, "")
        page = (self.path / "page.md").read_text()
        # The capacity is the planner's where the compiler does not tell.
        self.assertIn(f"| {DECODE_NAME}, 8 steps | 10.00 | 0.50 | 1.0 | 10.50 | 17.00 | 12.3 |", page)
        self.assertIn(f"| {PROMPT_NAME} | 30 % | layers.*.mlp.gate", page)
        self.assertIn("Compiled by libtpu.so, with dunlin 0.1.0 (g++ 12.2.0), ", page)
        self.assertEqual(len(self.compilations()), 1)
        self.run_script("--only", "70b-tp16-8x*", "--again")
        self.assertEqual(len(self.compilations()), 2)

    def test_the_plugin_is_named_as_it_was_fetched(self):
        folder = self.path / "tpu" / "libtpu"
        folder.mkdir(parents=True)
        (folder.parent / "requirement").write_text("libtpu==0.0.51\n")
        made = compiled_json([program(PROMPT_NAME.replace("2048", "512"), 0.01)], capacity=16e9)
        made["plugin"] = str(folder / "libtpu.so")
        (self.path / "v4:2x2x1").write_text(json.dumps(made))
        result = self.run_script("--only", "dream-v4")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Compiled by libtpu==0.0.51, with", result.stdout)
        self.assertIn("| 10.50 | 16.00 |", result.stdout)

    def test_a_device_that_is_half_a_chip_has_half_of_its_memory(self):
        name = PROMPT_NAME.replace("2048", "512")
        self.compiles("v4:2x2x1", [program(name, 0.01)], capacity=33e9)  # of a chip
        self.assertIn("| 10.50 | 17.00 |", self.run_script("--only", "dream-v4").stdout)

    def test_the_first_slice_that_holds_it(self):
        self.compiles("v5e:8x8", [program(DECODE_NAME, 0.01), program(PROMPT_NAME, 0.01)])
        result = self.run_script("--only", "405b-v5e")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([line.split("--topology ")[1].split()[0] for line in self.compilations()],
                         ["v5e:4x4", "v5e:4x8", "v5e:8x8"])
        for topology, mesh in (("v5e:4x4", "model=16"), ("v5e:4x8", "model=32")):
            self.assertIn(f"| {topology}, {mesh} | 8 x 2048 | --topology {topology}: needs 20.00 GiB, 4.25 GiB more than the "
                          "15.75 GiB of a device |", result.stdout)
        self.assertIn(f"| v5e:8x8, model=64 | {DECODE_NAME} | 10.00 |", result.stdout)

    def test_a_row_that_nothing_holds_is_kept_too(self):
        for _ in range(2):
            result = self.run_script("--only", "8b-bf16-v5e")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("| Llama-3.1-8B, BF16 | v5e:1x1 | 8 x 2048 | --topology v5e:1x1: needs 20.00 GiB", result.stdout)
        self.assertEqual(len(self.compilations()), 1)

    def test_other_failures_are_said_and_tried_again(self):
        (self.path / "broken").write_text("")
        failed = self.run_script("--only", "8b-v5e", "--update")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("error: 8b-v5e: ", failed.stderr)
        self.assertIn("error: no plug-in", failed.stderr)
        self.assertIn(ahead_table.NOTHING, (self.path / "page.md").read_text())
        # A program that was asked for is not there.
        self.compiles("v5e:1x1", [program(DECODE_NAME, 0.01)])
        missing = self.run_script("--only", "8b-v5e")
        self.assertEqual(missing.returncode, 1)
        self.assertIn("KeyError", missing.stderr)
        # The bytes are not told.
        self.compiles("v5e:1x1", [program(DECODE_NAME, 0.01), program(f"{DECODE_NAME}, 8 steps", temporary=None),
                                  program(PROMPT_NAME, 0.01)])
        self.assertIn("8b-v5e: loop has no numbers", self.run_script("--only", "8b-v5e").stderr)
        (self.path / "v5e:1x1").write_text("not JSON")
        self.assertEqual(self.run_script("--only", "8b-v5e").returncode, 1)
        self.assertEqual(len(self.compilations()), 4)

    def test_wrong_use(self):
        result = self.run_script("--only", "9b-*")
        self.assertEqual(result.returncode, 2)
        self.assertIn("no row has such a key", result.stderr)
        self.assertEqual(self.run_script("--dunlin", self.path / "none").returncode, 2)
        (self.path / "page.md").unlink()
        self.compiles("h200", [program(DECODE_NAME), program(f"{DECODE_NAME}, 8 steps"), program(PROMPT_NAME)])
        result = self.run_script("--only", "8b-h200", "--update")
        self.assertEqual(result.returncode, 2)
        self.assertIn("page.md", result.stderr)
        listed = self.run_script("--list", "--only", "dream-*")
        self.assertEqual([line.split()[0] for line in listed.stdout.splitlines()], ["dream-v4", "dream-h200"])


if __name__ == "__main__":
    unittest.main()
