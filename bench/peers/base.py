"""What every peer of bench/compare has in common."""

import dataclasses
import json
import pathlib
import shlex
import sys

import measure

FILE = "GGUF"  # the format of a model of which there is only a file
BENCH = pathlib.Path(__file__).resolve().parent.parent


# For what converts or loads: everything is here, and nothing is asked of the hub.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Unavailable(Exception):
    """Why a peer, or one test of it, cannot be had here: a line of the report."""


@dataclasses.dataclass(frozen=True)
class Test:
    """`batch` sequences of `context` tokens each. generate > 0: so many tokens more of each are timed, without the context;
    0: the context itself is, to the logits of its last token."""
    batch: int
    context: int
    generate: int

    @property
    def name(self):
        if self.generate == 0:
            return f"prefill {self.context}"
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"decode {self.generate} at {self.context}{batch}"

    @property
    def tokens(self):
        """That a second's figure counts."""
        return self.context if self.generate == 0 else self.batch * self.generate


@dataclasses.dataclass(frozen=True)
class Model:
    """One shape in one format: `gguf` is dunlin's file; `directory` the same shape in BF16 as a Hugging Face directory, None
    where no peer wants it. Weights are random, so those of the two differ; their speed does not."""
    name: str
    format: str
    gguf: pathlib.Path
    directory: pathlib.Path | None


class Context:
    """Where and how all sides run."""

    def __init__(self, work, threads, cpus, dunlin="build/release/bin/dunlin", precision="auto", llama_bin=None, timeout=3600,
                 dry_run=False):
        self.work, self.threads, self.cpus, self.timeout = pathlib.Path(work).resolve(), threads, cpus, timeout
        self.dunlin, self.precision, self.llama_bin, self.dry_run = dunlin, precision, llama_bin, dry_run
        self.installed = {}  # of venvs.py, by environment

    def execute(self, command, environment=None, pinned=False, merged=False, timeout=None):
        """The command's output; in a dry run it is printed, and the output None. `pinned`: as what is timed runs, on the
        chosen processors. Raises Unavailable with the end of what it said; all of it goes to failures.log of the folder."""
        words = [str(word) for word in command]
        if self.dry_run:
            settings = "".join(f"{name}={shlex.quote(str(value))} " for name, value in (environment or {}).items())
            print(f"  {settings}{shlex.join(words)}")
            return None
        variables = {**(environment or {}), **(thread_variables(self.threads) if pinned else {})}
        try:
            return measure.attempt(words, cpus=self.cpus if pinned else None, environment=variables, merged=merged,
                                   timeout=timeout or self.timeout)
        except measure.Failed as error:
            self.work.mkdir(parents=True, exist_ok=True)
            with open(self.work / "failures.log", "a") as log:
                log.write(f"{error}\n\n")
            raise Unavailable(reason_of(str(error))) from error

    def execute_json(self, command, **settings):
        text = self.execute(command, **settings)
        try:
            return None if text is None else json.loads(text)
        except ValueError as error:
            raise Unavailable(f"{pathlib.Path(str(command[0])).name} printed no JSON: {error}") from error


def thread_variables(threads):
    """For the libraries of parallel loops that engines use, so that none takes more than its share."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    return {name: str(threads) for name in names}


def reason_of(text):
    """How a command ended and the last line that it said, for one cell of a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ending = next((line for line in lines if line.startswith(("ended with ", "was ended "))), lines[0] if lines else "")
    last = lines[-1] if lines and lines[-1] != ending else ""
    reason = f"{ending}: {last}" if last else ending
    return reason.replace("|", "/")[:300]


class Peer:
    """One engine. `weights` says, by dunlin's format, what it computes with in its place; a format without an entry is one
    that it does not have."""
    name = ""
    version = ""
    weights: dict[str, str] = {}

    def refuses(self, model):
        """Why it cannot run the model; None where it can."""
        if model.format == FILE:
            return "reads no GGUF file: name a shape instead of a file"
        return None if model.format in self.weights else f"has no weights like {model.format}"

    def describe(self, model):
        """Its weights and arithmetic for this model."""
        return self.weights[model.format]

    def install(self, context):
        """Installs it below context.work, where that was not done. Raises Unavailable."""
        raise NotImplementedError

    def prepare(self, context, model):
        """The model in the engine's own form, made once; what run() takes. Raises Unavailable."""
        raise NotImplementedError

    def run(self, context, prepared, tests):
        """{test: tokens per second, or Unavailable}: loads, warms up and measures each once. Raises Unavailable where none
        could be run; a dry run returns {}."""
        raise NotImplementedError


class LibraryPeer(Peer):
    """An engine that is a Python library: worker.py runs the module's Session in its virtual environment."""
    module = ""  # of this package

    def python(self, context):
        """The interpreter of its virtual environment."""
        raise NotImplementedError

    def environment(self, context):
        """Variables of the worker beside those of threads."""
        return {}

    def run(self, context, prepared, tests):
        out = context.work / f"{self.module}.result.json"
        out.unlink(missing_ok=True)
        command = [self.python(context), "-m", "peers.worker", self.module, prepared, out, "--threads", context.threads,
                   "--tests", json.dumps([dataclasses.astuple(test) for test in tests])]
        environment = {"PYTHONPATH": str(BENCH), **OFFLINE, **self.environment(context)}
        context.execute(command, environment=environment, pinned=True, merged=True)
        return {} if context.dry_run else read_results(out, tests)


def read_results(path, tests):
    """What worker.py wrote, as run() returns it."""
    try:
        results = json.loads(path.read_text())
        found = {}
        for test, result in zip(tests, results, strict=True):
            problem = result.get("problem")
            found[test] = Unavailable(problem) if problem else test.tokens / float(result["seconds"])
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise Unavailable(f"the worker left no result: {type(error).__name__} {error}") from error


def once(context, path, make):
    """`path`, which make(partial) makes where it is not there: a folder that is half made is not taken for one."""
    if path.exists():
        return path
    partial = path.with_name(f"partial-{path.name}")
    if context.dry_run:
        make(partial)
        print(f"  mv {partial} {path}")
        return path
    measure.remove(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    print(f"making {path}", file=sys.stderr)
    make(partial)
    partial.rename(path)
    return path
