#!/usr/bin/env python3
"""Writes tests/eval/data/scores.json: rows of logits and what numpy makes of them in float64.

    pip install -r tools/requirements.txt
    python tools/make_eval_goldens.py tests/eval/data/scores.json

Per row: the logits of a model and of a reference (float32), the token that comes next, the log-sum-exp of either, the
token's negative log-likelihood under either, KL(reference || model), and whether the best tokens agree. Over all rows:
perplexity with its error, mean and 99th percentile of the divergence.
"""

import argparse
import json
import pathlib

import numpy as np

ROWS = 32
VOCABULARY = 41


def log_softmax(logits):
    logits = logits.astype(np.float64)
    top = logits.max(axis=-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))


def perplexity(likelihoods):
    """exp of the mean and the mean's standard error carried through it."""
    value = np.exp(likelihoods.mean())
    return {"value": value, "error": value * np.sqrt(likelihoods.var() / (len(likelihoods) - 1))}


def make_rows(random):
    """Rows from flat to peaked, of references from equal to far away; some tokens are excluded. Multiples of 2**-12."""
    sharpness = np.exp2(random.uniform(-2, 4, (ROWS, 1)))
    model = random.standard_normal((ROWS, VOCABULARY)) * sharpness
    distance = np.exp2(random.uniform(-9, 1, (ROWS, 1)))
    reference = model + random.standard_normal(model.shape) * distance
    model = (np.round(model * 4096) / 4096).astype(np.float32)
    reference = (np.round(reference * 4096) / 4096).astype(np.float32)
    reference[0] = model[0]
    reference[1:4, :7] = -np.inf
    model[2, :5] = -np.inf
    model += np.float32(50)
    reference[5:9] -= np.float32(200)
    return model, reference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    output = parser.parse_args().output

    random = np.random.default_rng(20)
    model, reference = make_rows(random)
    tokens = random.integers(10, VOCABULARY, ROWS)
    log_model, log_reference = log_softmax(model), log_softmax(reference)
    with np.errstate(invalid="ignore"):
        terms = np.exp(log_reference) * (log_reference - log_model)
    divergence = np.where(np.exp(log_reference) > 0, terms, 0).sum(axis=-1)
    picked = np.arange(ROWS), tokens
    nll, reference_nll = -log_model[picked], -log_reference[picked]

    def lse(logits, log_probabilities):
        return (logits.astype(np.float64)[picked] - log_probabilities[picked]).tolist()

    golden = {
        # JSON has no infinity: null stands for minus infinity.
        "model": [[float(x) if np.isfinite(x) else None for x in row] for row in model],
        "reference": [[float(x) if np.isfinite(x) else None for x in row] for row in reference],
        "tokens": tokens.tolist(),
        "model_lse": lse(model, log_model),
        "reference_lse": lse(reference, log_reference),
        "nll": nll.tolist(),
        "reference_nll": reference_nll.tolist(),
        "kl": divergence.tolist(),
        "same_best": (model.argmax(axis=-1) == reference.argmax(axis=-1)).tolist(),
        "perplexity": perplexity(nll),
        "kl_mean": divergence.mean(),
        "kl_p99": np.percentile(divergence, 99),
    }
    output.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
