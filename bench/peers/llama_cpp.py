"""llama.cpp, built from the source distribution of its Python bindings, which carries the whole tree.

Its own tools time it: llama-bench one sequence, llama-batched-bench several. Each runs without flash attention and with it,
and the better of the two counts, per test and round: without is more than twice as fast behind 2,048 positions, with it a
prompt.
"""

import json
import pathlib
import shutil
import sys

import measure
from peers import base

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
TOOLS = ("llama-bench", "llama-batched-bench")
# Beside what the processor has: what dunlin's instruction sets of these names are (src/base/cpu_features.h).
SWITCHES = ("SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2", "AVX512", "AVX512_VNNI", "AVX512_VBMI", "AVX512_BF16", "AVX_VNNI",
            "AMX_TILE", "AMX_INT8", "AMX_BF16")
SETS = {"avx2": SWITCHES[:6], "avx512": SWITCHES[:8]}


def isa_flags(isa):
    """Of cmake, for an instruction set of SETS; "native" is the processor's own."""
    if isa == "native":
        return ["-DGGML_NATIVE=ON"]
    return ["-DGGML_NATIVE=OFF", *(f"-DGGML_{name}={'ON' if name in SETS[isa] else 'OFF'}" for name in SWITCHES)]


def compiler_flags(isa):
    """g++ 12 drops stores of the tile configuration, with which llama.cpp's AMX ends in a signal: clang, where tiles may be
    used. Raises Unavailable."""
    for version in ("-19", ""):
        if shutil.which(f"clang++{version}"):
            return [f"-DCMAKE_C_COMPILER=clang{version}", f"-DCMAKE_CXX_COMPILER=clang++{version}"]
    if isa == "native" and "amx_tile" in pathlib.Path("/proc/cpuinfo").read_text():
        raise base.Unavailable("needs clang on a processor with AMX (g++ 12 breaks its tiles): scripts/install-deps ci")
    return []


def source(context):
    """The folder of llama.cpp's tree."""
    folder = context.work / "llama.cpp"
    tree = folder / f"llama_cpp_python-{VERSION}" / "vendor" / "llama.cpp"
    if tree.exists():
        return tree
    archive = folder / f"llama_cpp_python-{VERSION}.tar.gz"
    if not archive.exists():
        context.execute([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                         f"--no-binary={PACKAGE}", "--dest", folder, f"{PACKAGE}=={VERSION}"])
    partial, top = folder / "partial", tree.relative_to(folder).parts[0]
    if not context.dry_run:
        measure.remove(partial)
        partial.mkdir()
    # tarfile's filter, which keeps members within the folder as tar does, is missing in the Python of Debian 12.
    context.execute(["tar", "-xzf", archive, "-C", partial])
    if not context.dry_run:
        if not (partial / tree.relative_to(folder)).exists():
            raise base.Unavailable(f"{archive} has no {tree.relative_to(folder)}")
        measure.remove(folder / top)
        (partial / top).rename(folder / top)
    return tree


def build_folder(context, isa):
    return context.work / "llama.cpp" / isa


def build(context, tools, isa="native"):
    """The folder with these tools, built for the instruction set. Raises Unavailable."""
    folder = build_folder(context, isa)
    if all((folder / "bin" / tool).exists() for tool in tools):
        return folder / "bin"
    for program in ("cmake", "ninja"):
        if not context.dry_run and shutil.which(program) is None:
            raise base.Unavailable(f"{program} is not installed: scripts/install-deps build")
    tree = source(context)
    context.execute(["cmake", "-S", tree, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                     "-DLLAMA_BUILD_EXAMPLES=ON", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_CURL=OFF", *compiler_flags(isa),
                     *isa_flags(isa)])
    # Hours on two cores if all were built.
    context.execute(["ninja", "-C", folder, *tools], timeout=4 * 3600)
    return folder / "bin"


def bench_flags(test):
    """Of llama-bench and `dunlin bench model`, which has its names."""
    if test.generate == 0:
        return ["-p", test.context, "-n", "0"]
    return ["-p", "0", "-n", test.generate, "-d", test.context]


def only_speed(rows):
    """Tokens per second of the one result of llama-bench or `dunlin bench model`. Raises Unavailable."""
    try:
        (row,) = rows
        return float(row["avg_ts"])
    except (TypeError, ValueError, KeyError) as error:
        raise base.Unavailable(f"not one result of a speed: {type(error).__name__} {error}") from error


def batched_speed(text, test):
    """Tokens per second of the line of llama-batched-bench that is of the test. Raises Unavailable."""
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        try:
            row = json.loads(line)
            if (row["pp"], row["tg"], row["pl"]) == (test.context, test.generate, test.batch):
                return float(row["speed_tg"])
        except (ValueError, KeyError, TypeError):
            continue
    raise base.Unavailable("llama-batched-bench printed no line of the test: its context was too small")


class LlamaCppPeer(base.Peer):
    name = "llama.cpp"
    version = f"of {PACKAGE} {VERSION}"

    def __init__(self, isa="native"):
        self.isa = isa

    def refuses(self, model):
        return None

    def describe(self, model):
        return "the same file, better of -fa 0 and 1" + ("" if self.isa == "native" else f", built for {self.isa}")

    def install(self, context):
        if not self.is_given(context):
            build(context, TOOLS, self.isa)
            return
        missing = [tool for tool in TOOLS if not (self.folder(context) / tool).exists()]
        if missing:
            raise base.Unavailable(f"{context.llama_bin} has no {missing[0]}")

    def is_given(self, context):
        """Whether its tools are those of --llama-bin, which are the processor's own."""
        return context.llama_bin is not None and self.isa == "native"

    def folder(self, context):
        return pathlib.Path(context.llama_bin).resolve() if self.is_given(context) else build_folder(context, self.isa) / "bin"

    def prepare(self, context, model):
        return model.gguf

    def run(self, context, prepared, tests):
        measured = {}
        for test in tests:
            try:
                speeds = [self.speed(context, prepared, test, flash) for flash in (0, 1)]
                measured[test] = None if context.dry_run else max(speeds)
            except base.Unavailable as problem:
                measured[test] = problem
        return {} if context.dry_run else measured

    def speed(self, context, model, test, flash):
        folder = self.folder(context)
        if test.batch == 1:
            rows = context.execute_json([folder / "llama-bench", "-m", model, "-o", "json", "-r", "1", "-t", context.threads,
                                         "-fa", flash, *bench_flags(test)], pinned=True)
            return None if rows is None else only_speed(rows)
        if test.generate == 0:
            raise base.Unavailable("prompts of several sequences are not timed")
        # Each sequence has its share of the context, in steps of 256 positions.
        positions = test.batch * (-(-(test.context + test.generate) // 256) * 256)
        text = context.execute([folder / "llama-batched-bench", "-m", model, "-c", positions, "-npp", test.context,
                                "-ntg", test.generate, "-npl", test.batch, "-t", context.threads,
                                "-fa", ("off", "on")[flash], "--output-format", "jsonl"], pinned=True, merged=True)
        return None if text is None else batched_speed(text, test)


PEER = LlamaCppPeer()
