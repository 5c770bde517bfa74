"""What the scripts that time models share: commands and their JSON, models of random weights, what else the machine does,
spreads."""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Above this share of the machine's processors other programs decide what is measured: two threads that wait for each other
# by spinning fall to a tenth of their speed when a third wants a processor.
BUSY = 0.1


class Failed(Exception):
    """A command that ended otherwise than it should, with what it said."""


@contextlib.contextmanager
def terminable():
    """Within the block SIGTERM and SIGHUP end this script as an exception does, so that what it began is ended and removed. A
    signal that is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number, _):
        sys.exit(128 + number)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def end_all(child):
    """Ends the child, which leads a process group, with all that it started: a compiler or a worker that goes on would hold the
    pipes open, and take processors from what is measured next."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def running(words, before=None, **options):
    """The process of a command, as subprocess.Popen has it; an exception in the block ends it with all that it started. Signals
    that end this script wait until the process has a name here: one that comes earlier would leave it to itself.

    before  is called in the new process, before the program
    """
    ending_signals = (signal.SIGTERM, signal.SIGHUP)
    with terminable():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ending_signals)

        def begin():
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if before is not None:
                before()

        try:
            with subprocess.Popen(words, preexec_fn=begin, start_new_session=True, **options) as child:
                try:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                    yield child
                except BaseException:
                    end_all(child)
                    raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def attempt(command, codes=(0,), cpus=None, environment=None, timeout=None, merged=False, enter=None):
    """The command's standard output, with `merged` its standard error among it. Raises Failed.

    cpus         the processors that it and its threads may run on; None: those of this process
    enter        is called in the new process, before the program
    environment  variables on top of this process's; a value of None removes one
    timeout      seconds, after which the command ends with all that it started
    """
    words = [str(word) for word in command]
    variables = {**os.environ, **(environment or {})}
    variables = {name: value for name, value in variables.items() if value is not None}

    def begin():
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        if enter is not None:
            enter()

    errors = subprocess.STDOUT if merged else subprocess.PIPE
    try:
        with running(words, begin, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                     errors="replace", env=variables) as child:
            out, said = child.communicate(timeout=timeout)
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(words)}\nwas ended after {timeout:.0f} seconds") from error
    except subprocess.SubprocessError as error:  # of enter()
        raise Failed(f"{words[0]}: {error}") from error
    if child.returncode not in codes:
        raise Failed(f"{' '.join(words)}\nended with {ending(child.returncode)}\n{out if merged else said}")
    return out


def ending(code):
    return f"code {code}" if code >= 0 else f"signal {-code}"


def run(command, codes=(0,), environment=None):
    """The command's standard output. Another exit code than `codes` ends the script with what the command said."""
    try:
        return attempt(command, codes, environment=environment)
    except Failed as error:
        sys.exit(f"error: {error}")


def run_json(command, codes=(0,), environment=None):
    return json.loads(run(command, codes, environment))


def peak_bytes(command, timeout=None, environment=None):
    """Runs the command, so many seconds at most, and returns its peak resident size. `environment`: as attempt() has it.
    Raises Failed."""
    words = [str(word) for word in command]
    variables = {name: value for name, value in {**os.environ, **(environment or {})}.items() if value is not None}
    try:
        with running(words, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=variables) as child:
            clock = threading.Timer(timeout, end_all, [child]) if timeout is not None else None
            try:
                if clock is not None:
                    clock.start()
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if clock is not None:
                    clock.cancel()
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}") from error
    if child.returncode != 0:
        raise Failed(f"{' '.join(words[:4])} ..\nended with {ending(child.returncode)}")
    return usage.ru_maxrss * 1024


def build_of(dunlin):
    """What figures are of: the version of the program, and a digest of its bytes."""
    version = run_json([dunlin, "version", "--json"])
    return f"dunlin {version['version']} ({version['compiler']}), {digest_of(shutil.which(dunlin))}"


def digest_of(path):
    """Of a program's bytes."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:12]


def benchmark_rates(text):
    """{benchmark: operations per second} of what kernels_bench printed as JSON: nothing where no benchmark was chosen."""
    benchmarks = json.loads(text)["benchmarks"] if text.strip() else []
    return {each["name"]: each["FLOP/s"] for each in benchmarks if "FLOP/s" in each}


# ------------------------------------------------------------------------------------ models


def this_python():
    return sys.executable


def random_model(work, shape, types, tokenizer=None, logit_deviation=1, layers=None, routing=None, python=this_python):
    """The path of SHAPE in TYPE or TYPE:OUTPUT_TYPE in the folder `work`; tools/make_random_model writes it once. `python`
    returns the interpreter that runs it, and is called only then."""
    matrices, _, output = types.partition(":")
    parts = [shape, matrices, output, pathlib.Path(tokenizer).name if tokenizer else "",
             f"logits{logit_deviation}" if logit_deviation != 1 else "", f"{layers}layers" if layers else "", routing or ""]
    path = work / f"{'-'.join(part for part in parts if part)}.gguf"
    flags = ["--shape", shape, "--type", matrices, "--logit-deviation", str(logit_deviation)]
    flags += ["--output-type", output] if output else []
    flags += ["--tokenizer", str(tokenizer)] if tokenizer else []
    flags += ["--layers", str(layers)] if layers else []
    flags += ["--routing", routing] if routing else []
    return write_once(path, flags, python)


def random_directory(work, shape, tokenizer=None, python=this_python):
    """The path of SHAPE in BF16 as a Hugging Face directory in the folder `work`, written once."""
    name = f"{shape}-BF16-{pathlib.Path(tokenizer).name}" if tokenizer else f"{shape}-BF16"
    flags = ["--shape", shape, "--type", "BF16"] + (["--tokenizer", str(tokenizer)] if tokenizer else [])
    return write_once(work / name, flags, python)


def write_once(path, flags, python):
    """What tools/make_random_model writes with these flags, at `path`."""
    if path.exists():
        return path
    interpreter = python()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A run that is ended leaves no half of a model under the name.
    partial = path.with_name(f"partial-{os.getpid()}{path.suffix if path.suffix == '.gguf' else ''}")
    try:
        print(f"writing {path}", file=sys.stderr)
        with terminable():
            subprocess.run([str(interpreter), str(ROOT / "tools" / "make_random_model"), *flags, str(partial)], check=True)
        partial.rename(path)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: tools/make_random_model ended with {ending(error.returncode)}")
    finally:
        remove(partial)
    return path


def remove(path):
    """A file or a folder, where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------ the machine


def processors(threads):
    """The first `threads` processors that this process may run on, so that all that is compared runs on the same ones.
    Raises Failed where there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise Failed(f"--threads {threads}: this process may run on {len(allowed)} processors")
    return allowed[:threads]


def parse_busy_seconds(text, ticks):
    """(seconds that processors were busy, processors) of /proc/stat: user, nice, system, irq, softirq and steal, without
    idle and iowait. What follows steal is part of the first two."""
    busy, count = None, 0
    for line in text.splitlines():
        name, *fields = line.split() or [""]
        if name == "cpu":
            numbers = [int(field) for field in fields[:8]]
            busy = sum(number for index, number in enumerate(numbers) if index not in (3, 4)) / ticks
        elif name.startswith("cpu"):
            count += 1
    if busy is None or count == 0:
        raise ValueError("no line of processors")
    return busy, count


class OtherCpu:
    """Processor time of other programs while a `with` block ran, as a share of what all processors could give (`share`): that
    of the machine less that of this process and its children, which must have ended within the block. None where the
    system counts nothing."""

    def __enter__(self):
        self.share, self.before = None, self.now()
        return self

    def __exit__(self, *_):
        after = self.now()
        if self.before is None or after is None:
            return
        wall, busy, own = (b - a for a, b in zip(self.before[:3], after[:3]))
        if wall > 0:
            self.share = min(1.0, max(0.0, (busy - own) / (wall * after[3])))

    @staticmethod
    def now():
        try:
            text = pathlib.Path("/proc/stat").read_text()
            busy, count = parse_busy_seconds(text, os.sysconf("SC_CLK_TCK"))
        except (OSError, ValueError):
            return None
        own = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            own += usage.ru_utime + usage.ru_stime
        return time.monotonic(), busy, own, count


def busy_text(shares):
    """The largest share of other programs; marked where it decides the figure. None of `shares` was counted: "-"."""
    counted = [share for share in shares if share is not None]
    if not counted:
        return "-"
    return f"{100 * max(counted):.0f} %" + (" (disturbed)" if max(counted) > BUSY else "")


# ------------------------------------------------------------------------------------ numbers


def spread(values, digits=3):
    """"median (least to largest)"."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def at_least_five(text):
    """For argparse: a number of rounds."""
    rounds = int(text)
    if rounds < 5:
        raise argparse.ArgumentTypeError("at least 5: fewer rounds say nothing about their spread")
    return rounds
