#!/usr/bin/env python3
"""Writes tests/smollm2/data/perplexity.json: what SmolLM2 thinks of the beginning of LICENSE, by numpy in float64.

    pip install -r tools/requirements.txt
    dunlin tokenize SmolLM2-135M-Instruct.Q4_1.gguf --ids --no-special < LICENSE |
        tools/make_perplexity_golden.py SmolLM2-135M-Instruct.Q4_1.gguf tests/smollm2/data/perplexity.json

As llama-perplexity -c 512 --chunks 2: windows of 512 tokens side by side, of each the last 255 tokens are scored, each
by the logits of the row before it. The model expects no bos token.
"""

import argparse
import json
import pathlib
import sys

import gguf
import numpy as np

import numpy_llama

WINDOW = 512
WINDOWS = 2


def scores(weights, hyper, ids):
    """-ln p of the tokens behind the first half of one window, the first of them excepted."""
    logits = numpy_llama.forward(weights, hyper, ids[:-1])["logits"]
    rows = logits[WINDOW // 2 :]
    targets = ids[WINDOW // 2 + 1 :]
    top = rows.max(axis=-1)
    lse = top + np.log(np.exp(rows - top[:, None]).sum(axis=-1))
    return lse - rows[np.arange(len(rows)), targets]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()

    ids = np.array(json.load(sys.stdin))[: WINDOW * WINDOWS]
    reader = gguf.GGUFReader(arguments.model)
    weights, hyper = numpy_llama.gguf_weights(reader), numpy_llama.hyper_from_gguf(reader)
    nll = np.concatenate([scores(weights, hyper, part) for part in np.split(ids, WINDOWS)])
    value = np.exp(nll.mean())
    golden = {
        "text": "LICENSE",
        "window": WINDOW,
        "windows": WINDOWS,
        "tokens": len(nll),
        "perplexity": value,
        "perplexity_error": value * np.sqrt(nll.var() / (len(nll) - 1)),
    }
    arguments.output.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
