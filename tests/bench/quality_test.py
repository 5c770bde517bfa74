#!/usr/bin/env python3
"""What bench/quality asks of `dunlin eval`, and what it makes of the answers.

    quality_test.py FOLDER      (bench/)
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(sys.argv.pop(1)).resolve()

# Q9 is no type; each call leaves its words behind.
DUNLIN = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
case "$*" in
  *"--quantize Q9"*) echo "warning: something" >&2; echo "error: Q9 | is not a type" >&2; exit 2 ;;
  *"--kv-cache-dtype int8"*) echo '{"perplexity": 14.5, "perplexity_error": 0.1656, "kl_mean": 0.0012345678,
    "kl_p99": 0.012345, "top1_agreement": 0.98761, "ref_perplexity": 14.3, "tokens": 255, "windows": 1}' ;;
  *) echo '{"perplexity": 14.4, "perplexity_error": 0.165, "kl_mean": 0.0001, "kl_p99": 0.001, "top1_agreement": 0.999,
    "ref_perplexity": 14.3, "tokens": 255, "windows": 1}' ;;
esac
"""


class QualityTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.dunlin = self.folder / "dunlin"
        self.dunlin.write_text(DUNLIN)
        self.dunlin.chmod(0o755)

    def quality(self, *flags):
        return subprocess.run([sys.executable, BENCH / "quality", "model/", "text.txt", "--dunlin", self.dunlin, *flags],
                              capture_output=True, text=True)

    def calls(self):
        return (self.folder / "calls").read_text().splitlines()

    def test_each_combination_is_a_line(self):
        kept = self.folder / "all.json"
        result = self.quality("--formats", "stored,Q4_0", "--profiles", "auto,f32", "--kv", "bf16,int8", "--chunks", "1",
                              "--json", kept)
        self.assertEqual(result.returncode, 0, result.stderr)
        beginning = "eval model/ text.txt -c 512 --precision"
        end = "--ref model/ --ref-precision f32 --no-pack-cache --json -q"
        wanted = []
        for quantize in ("", " --quantize Q4_0"):
            for words in ("auto --kv-cache-dtype bf16", "auto --kv-cache-dtype int8", "f32 --kv-cache-dtype f32"):
                wanted.append(f"{beginning} {words} {end}{quantize} --chunks 1")
        self.assertEqual(self.calls(), wanted)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[3], "| stored | auto | int8 | 0.001235 | 0.01235 | 98.76 % | 14.5000 ± 0.166 |")
        self.assertEqual(lines[4], "| stored | f32 | f32 | 0.000100 | 0.00100 | 99.90 % | 14.4000 ± 0.165 |")
        self.assertEqual(lines[-1], "Perplexity of the reference: 14.3000; 255 tokens scored in 1 windows of 512.")
        document = json.loads(kept.read_text())
        self.assertEqual([row["kv"] for row in document["results"]], ["bf16", "int8", "f32"] * 2)
        self.assertEqual(document["results"][1]["result"]["top1_agreement"], 0.98761)

    def test_the_whole_text_and_a_part_of_it(self):
        self.quality("--formats", "stored", "--profiles", "f32")
        self.quality("--formats", "stored", "--profiles", "f32", "--chunks", "0")
        first, second = self.calls()
        self.assertTrue(first.endswith("--chunks 40"), first)
        self.assertNotIn("--chunks", second)

    def test_a_failure_is_a_line_with_its_reason(self):
        result = self.quality("--formats", "Q9,stored", "--profiles", "exact", "--kv", "int8")
        self.assertEqual(result.returncode, 1)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[2], "| Q9 | exact | int8 | Q9 / is not a type | | | |")
        self.assertTrue(lines[3].startswith("| stored | exact | int8 | 0.001235 |"), lines[3])


if __name__ == "__main__":
    unittest.main()
