"""What the scripts that time masked diffusion share: commands and their JSON, models of random weights, spreads."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command, codes=(0,)):
    """The command's standard output. Another exit code than `codes` ends the script with what the command said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        sys.exit(f"error: {' '.join(words)}\nended with code {done.returncode}\n{done.stderr}")
    return done.stdout


def run_json(command, codes=(0,)):
    return json.loads(run(command, codes))


def random_model(work, shape, types, tokenizer=None, logit_deviation=1, layers=None):
    """The path of SHAPE in TYPE or TYPE:OUTPUT_TYPE in the folder `work`; tools/make_random_model writes it once."""
    matrices, _, output = types.partition(":")
    parts = [shape, matrices, output, pathlib.Path(tokenizer).name if tokenizer else "",
             f"logits{logit_deviation}" if logit_deviation != 1 else "", f"{layers}layers" if layers else ""]
    path = work / f"{'-'.join(part for part in parts if part)}.gguf"
    if path.exists():
        return path
    work.mkdir(parents=True, exist_ok=True)
    # A run that is ended leaves no half of a model under the name.
    partial = work / f"partial-{os.getpid()}.gguf"
    flags = ["--shape", shape, "--type", matrices, "--logit-deviation", str(logit_deviation)]
    flags += ["--output-type", output] if output else []
    flags += ["--tokenizer", str(tokenizer)] if tokenizer else []
    flags += ["--layers", str(layers)] if layers else []
    try:
        print(f"writing {path}", file=sys.stderr)
        subprocess.run([sys.executable, str(ROOT / "tools" / "make_random_model"), *flags, str(partial)], check=True)
        partial.rename(path)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: tools/make_random_model ended with code {error.returncode}")
    finally:
        partial.unlink(missing_ok=True)
    return path


def spread(values, digits=3):
    """"median (least to largest)"."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def at_least_five(text):
    """For argparse: a number of rounds."""
    rounds = int(text)
    if rounds < 5:
        raise argparse.ArgumentTypeError("at least 5: fewer rounds say nothing about their spread")
    return rounds
