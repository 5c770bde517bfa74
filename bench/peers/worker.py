"""Times one peer that is a Python library, within its virtual environment:

    python -m peers.worker MODULE MODEL OUT --threads N --tests [[batch, context, generate], ..]

Writes a list to OUT, one object a test: {"seconds": ..} or {"problem": ".."}. Every run has tokens of its own: an engine that
keeps the keys and values of prompts that it has seen would otherwise find them again.
"""

import argparse
import importlib
import json
import pathlib
import random
import sys

from peers.base import Test


class Prompts:
    def __init__(self, vocabulary):
        self.random, self.vocabulary = random.Random(1), vocabulary

    def draw(self, test):
        """Ids of each sequence. The first 300 may have a meaning of their own."""
        return [[self.random.randrange(300, self.vocabulary) for _ in range(test.context)] for _ in range(test.batch)]


def seconds_of(session, prompts, test):
    """One warm-up of the test's own sizes, as engines make kernels and memory for them, then the run that counts."""
    # The first token is that of the prompt's logits.
    tokens = 1 + test.generate
    session.answer(prompts.draw(test), min(tokens, 3))
    first, rest = session.answer(prompts.draw(test), tokens)
    seconds = first if test.generate == 0 else rest
    if not seconds > 0:
        raise RuntimeError(f"took {seconds} seconds")
    return seconds


def problem_of(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}".replace("|", "/")[:300]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tests", required=True)
    options = parser.parse_args()
    tests = [Test(*numbers) for numbers in json.loads(options.tests)]
    module = importlib.import_module(f"peers.{options.module}")
    # What cannot be loaded ends the process; its last line is the reason.
    session = module.Session(options.model, options.threads, tests)
    prompts, results = Prompts(session.vocabulary), []
    for test in tests:
        try:
            results.append({"seconds": seconds_of(session, prompts, test)})
        except Exception as error:  # of whatever library: a line of the report
            results.append({"problem": problem_of(error)})
            print(f"{test.name}: {error!r}", file=sys.stderr)
    options.out.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
