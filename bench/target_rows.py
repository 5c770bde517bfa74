"""The targets of speed and memory on a processor, and how each is measured."""

import json
import pathlib
import statistics

import comparison
import measure
from peers import base, dunlin, llama_cpp, venvs
from peers.base import Test, Unavailable
from target_table import Target

SHAPES = {"1B": "llama-3.2-1b", "8B": "llama-3.1-8b"}
DECODE, PREFILL = Test(1, 16, 32), Test(1, 512, 0)
BATCHES = {8: Test(8, 16, 32), 32: Test(32, 16, 32)}


class Bench:
    """What rows measure with: models in `folder`, which are written the first time."""

    def __init__(self, context, rounds, kernels_bench, compare_json):
        self.context, self.rounds, self.kernels_bench, self.compare_json = context, rounds, kernels_bench, compare_json
        self.llamas = {}
        self.busy = []  # shares of other programs while what is timed ran: of a row, whose measurement begins the list

    def model(self, shape, types):
        """Its path. Raises Unavailable."""
        try:
            return measure.random_model(self.context.work / "models", shape, types,
                                        python=lambda: venvs.tools_python(self.context))
        except SystemExit as error:
            raise Unavailable(str(error)) from error

    def llama(self, isa="native"):
        """The peer, built once. Raises Unavailable."""
        if isa not in self.llamas:
            peer = llama_cpp.LlamaCppPeer(isa)
            peer.install(self.context)
            self.llamas[isa] = peer
        return self.llamas[isa]

    def dunlin(self, *words):
        """Its JSON, as everything that is timed runs."""
        return self.context.execute_json([self.context.dunlin, *words], pinned=True)

    def result(self, model, *flags, precision="auto"):
        """The one result of a `bench model` that times one test once."""
        found = self.dunlin("bench", "model", model, "-r", "1", "-t", self.context.threads, "--precision", precision,
                            "--json", *flags)
        (result,) = found["results"]
        return result

    def kernel_rates(self, pattern):
        """{benchmark: operations per second} of bench/kernels_bench."""
        if not pathlib.Path(self.kernels_bench).exists():
            raise Unavailable(f"{self.kernels_bench} is not built: cmake -DDUNLIN_BUILD_BENCH=ON, target kernels_bench")
        text = self.context.execute([self.kernels_bench, f"--benchmark_filter={pattern}", "--benchmark_format=json"],
                                    pinned=True)
        return measure.benchmark_rates(text)

    def tile_peak(self, kind, threads):
        """Operations per second of full AMX tiles of `kind` (bf16, int8) on so many threads at once."""
        name = f"tile_peak_{kind}_amx/real_time/threads:{threads}"
        rates = self.kernel_rates(f"^{name}$")
        if name not in rates:
            raise Unavailable(f"kernels_bench has no {name}")
        return rates[name]

    def each_round(self, figure):
        figures = []
        for _ in range(self.rounds):
            with measure.OtherCpu() as other:
                figures.append(figure())
            self.busy.append(other.share)
        return figures


def decode_fraction(bench, shape, types):
    model = bench.model(shape, types)
    return bench.each_round(lambda: bench.result(model, *llama_cpp.bench_flags(DECODE))["bandwidth_fraction"]), ""


def kv_bytes(config, positions, type_k="bf16", type_v="bf16"):
    """Keys and values that a token behind so many positions reads, the scales of int8 among them."""
    heads, head_dim = config["num_key_value_heads"], config["head_dim"]
    of_head = {"bf16": 2 * head_dim, "f32": 4 * head_dim, "int8": head_dim + 4}
    return config["num_hidden_layers"] * heads * (of_head[type_k] + of_head[type_v]) * positions


def depth_fraction(result, config):
    """Of the stream: weights and keys and values over the time of a token."""
    tokens, seconds = result["n_gen"], result["avg_ns"] / 1e9
    weights = result["weights_gb_s"] * 1e9 * seconds / tokens
    cached = kv_bytes(config, result["n_depth"] + tokens / 2, result["type_k"], result["type_v"])
    return (weights + cached) * tokens / seconds / (result["stream_gb_s"] * 1e9)


def decode_at_depth(bench, shape, depth):
    model = bench.model(shape, "Q4_0")
    config = bench.dunlin("inspect", model, "--json")["config"]
    flags = llama_cpp.bench_flags(Test(1, depth, 32))
    return bench.each_round(lambda: depth_fraction(bench.result(model, *flags), config)), ""


def pairs_with_llama(bench, model, test, isa=None, precision=None):
    """[dunlin / llama.cpp] of the rounds."""
    peer = bench.llama(isa or "native")
    (pairs,) = comparison.run_rounds(bench.context, (dunlin.Dunlin(isa, precision=precision), model), [(peer, model, "")],
                                     [test], bench.rounds, pathlib.Path(model).name)
    if pairs.problem is not None:
        raise Unavailable(pairs.problem)
    bench.busy += pairs.busy
    medians = f"{statistics.median(pairs.ours):.1f} and {statistics.median(pairs.theirs):.1f} tokens/s"
    return pairs.ratios, medians


def against_llama(bench, shape, types, test, isa=None, precision=None):
    return pairs_with_llama(bench, bench.model(shape, types), test, isa, precision)


def best_peer(pairs, shape, test):
    """(name and weights, median speed) of the fastest engine of bench/compare's results, of all formats of the shape."""
    speeds = [(statistics.median(each["theirs"]), f"{each['peer']} ({each['weights']})") for each in pairs
              if each["model"].split(" ")[0] == shape and each["test"] == test.name and each["problem"] is None]
    if not speeds:
        raise Unavailable(f"the results of bench/compare have no {test.name} of {shape}")
    speed, name = max(speeds)
    return name, speed


def against_best_peer(bench, shape, test):
    """Our Q4_0 in those results over the best engine's median there."""
    try:
        results = json.loads(bench.compare_json.read_text())
        pairs = results["pairs"]
        if results["threads"] != bench.context.threads or results["precision"] not in ("auto", "exact"):
            raise Unavailable(f"{bench.compare_json} is of {results['threads']} threads, precision {results['precision']}")
        if results["rounds"] < bench.rounds:
            raise Unavailable(f"{bench.compare_json} is of {results['rounds']} rounds: bench/compare --rounds {bench.rounds}")
        name, speed = best_peer(pairs, shape, test)
        compared = [each for each in pairs if each["model"].split(" ")[0] == shape and each["test"] == test.name]
        done = min(len(each["ours"]) for each in compared if each["problem"] is None)
        if done < results["rounds"]:
            raise Unavailable(f"{bench.compare_json} is of a run that was ended: {done} of {results['rounds']} rounds of "
                              f"{shape}")
        ours = [rate for each in compared if each["model"] == f"{shape} Q4_0" for rate in each["ours"]]
        busy = [share for each in compared for share in each["busy"]]
    except OSError as error:
        raise Unavailable(f"{bench.compare_json}: {error.strerror}; bench/compare --shapes {shape} writes it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{bench.compare_json}: not of bench/compare: {type(error).__name__} {error}") from error
    if not ours:
        raise Unavailable(f"the results of bench/compare have no Q4_0 of {shape}")
    bench.busy += busy
    return [rate / speed for rate in ours], f"best: {name}"


def prefill_fraction(bench, shape, precision, kind):
    """Of the tile peak of the same threads, taken right before each prompt."""
    model = bench.model(shape, "Q4_0")

    def figure():
        peak = bench.tile_peak(kind, bench.context.threads)
        return bench.result(model, *llama_cpp.bench_flags(PREFILL), precision=precision)["tflops"] * 1e12 / peak

    return bench.each_round(figure), ""


def batch_gain(bench, shape, batch):
    """Tokens per second of a batch over those of one sequence."""
    model, side, tests = bench.model(shape, "Q4_0"), dunlin.Dunlin(), [DECODE, BATCHES[batch]]

    def figure():
        found = side.run(bench.context, model, tests)
        for speed in found.values():
            if isinstance(speed, Unavailable):
                raise speed
        return found[tests[1]] / found[tests[0]]

    return bench.each_round(figure), ""


def attention_fraction(bench, head_dim, length):
    """Of one thread's tile peak: the kernel of a kv head with four query heads, causal; operations of visible keys."""
    name = f"attention_bf16_amx/prefill_h{head_dim}_g4_{length}"

    def figure():
        peak, rates = bench.tile_peak("bf16", 1), bench.kernel_rates(f"^{name}$")
        if name not in rates:
            raise Unavailable(f"kernels_bench has no {name}")
        return rates[name] / peak

    return bench.each_round(figure), "one thread"


def second_start(bench):
    """Seconds to the first token, once a start has kept the packed weights and read them into the page cache. That token is
    counted, as it touches the pages of a mapped file for the first time."""
    model = bench.model(SHAPES["8B"], "Q4_0")

    def start():
        return bench.dunlin("run", model, "--prompt-ids", "1,2,3", "-n", "1", "--ignore-eos", "--temp", "0", "-c", "512",
                            "-t", bench.context.threads, "--json", "-q")

    def seconds():
        found = start()
        if not found["backend"]["packed_before"]:
            raise Unavailable("the packed weights did not come from the cache: `dunlin run FILE -v` says why")
        return (found["timings"]["load_ms"] + found["timings"]["prompt_ms"]) / 1000

    start()
    return bench.each_round(seconds), "timings.load_ms and prompt_ms"


def memory_share(bench, shape):
    """Peak resident memory of a run over the arenas of weights, activations and workspace, and the cache, as `plan` counts
    them: without what any process has. A prompt that fills the context but for 8 tokens, and those."""
    model, context, threads = bench.model(shape, "Q4_0"), 2048, bench.context.threads
    ids = ",".join(str(300 + i % 1000) for i in range(context - 8))
    memory = bench.dunlin("plan", model, "-c", context, "-t", threads, "--json")["per_device"]
    plan = memory["total_bytes"] - memory["process_bytes"]
    command = [bench.context.dunlin, "run", model, "--prompt-ids", ids, "-n", "8", "-c", context, "--ignore-eos", "-q",
               "-t", threads]
    try:
        shares = bench.each_round(lambda: measure.peak_bytes(command, bench.context.timeout) / plan)
    except measure.Failed as error:
        raise Unavailable(base.reason_of(str(error))) from error
    return shares, f"{plan / 2**20:.0f} MiB planned"


# ------------------------------------------------------------------------------------ the rows


def target(key, title, must, goal, unit, command, function, *arguments, **more):
    return Target(key, title, must, goal, unit, lambda bench: function(bench, *arguments), command, **more)


def decode_rows():
    for name, shape in SHAPES.items():
        for types in ("Q4_0", "Q8_0", "BF16", "Q4_K", "MXFP4"):
            must, goal = (0.88, 0.95) if types in ("Q4_0", "Q8_0", "BF16") else (0.85, 0.92)
            yield target(f"decode-{name}-{types}", f"decode, batch 1, {name} {types}, whole token, of `stream_gb_s`", must,
                         goal, "", "bench model -p 0 -n 32 -d 16", decode_fraction, shape, types)


def peer_rows():
    for name, shape in SHAPES.items():
        for types in ("Q4_0", "Q8_0", "BF16", "Q4_K", "MXFP4"):
            yield target(f"peer-{name}-{types}", f"decode, {name} {types}, against llama.cpp on the same file", 1.0, 1.15,
                         "x", "bench/compare FILE", against_llama, shape, types, DECODE)
        yield target(f"peer-best-{name}", f"decode, {name} Q4_0, against the best engine in any format", 1.0, 1.15, "x",
                     "bench/compare", against_best_peer, shape, DECODE)
    yield target("peer-1B-Q4_0-Q6_K", "the same, 1B Q4_0 with the Q6_K output of llama-quantize", 1.5, 1.8, "x",
                 "bench/compare FILE", against_llama, SHAPES["1B"], "Q4_0:Q6_K", DECODE)


def depth_rows():
    for name, shape in SHAPES.items():
        for depth in (2048, 8192):
            yield target(f"depth-{name}-{depth}", f"decode at {depth}, {name} Q4_0, of `stream_gb_s`, keys and values counted",
                         0.80, 0.87, "", f"bench model -p 0 -n 32 -d {depth}", decode_at_depth, shape, depth)
        yield target(f"depth-{name}-llama", f"decode at 2048, {name} Q4_0, against the better setting of llama.cpp", 2.5, None,
                     "x", "bench/compare FILE", against_llama, shape, "Q4_0", Test(1, 2048, 32))


def prefill_rows():
    amx = ("amx",)
    for name, shape in SHAPES.items():
        yield target(f"prefill-exact-{name}", f"prefill 512, {name} Q4_0, exact (bf16), of the BF16 tile peak", 0.45, 0.60, "",
                     "bench model -p 512 -n 0 --precision exact; kernels_bench", prefill_fraction, shape, "exact", "bf16",
                     needs=amx, profile="exact", kernels=True)
        yield target(f"prefill-best-{name}", f"prefill 512, {name} Q4_0, against the best engine in any format", 1.8, None,
                     "x", "bench/compare", against_best_peer, shape, PREFILL)
        yield target(f"prefill-fast-{name}", f"prefill 512, {name} Q4_0, fast (int8wide), of the INT8 tile peak", 0.45, 0.60, "",
                     "bench model -p 512 -n 0 --precision fast; kernels_bench", prefill_fraction, shape, "fast", "int8",
                     needs=amx, profile="fast", kernels=True)


def batch_rows():
    for name, shape in SHAPES.items():
        for batch, must, goal in ((8, 5, 6), (32, 10, 14)):
            yield target(f"batch-{name}-{batch}", f"decode, batch {batch} against batch 1, {name} Q4_0", must, goal, "x",
                         f"bench sweep --batch {batch}; bench model", batch_gain, shape, batch)
        yield target(f"batch-best-{name}", f"decode, batch 32, {name} Q4_0, against the best engine in any format", 1.5, None,
                     "x", "bench/compare", against_best_peer, shape, BATCHES[32])


def attention_rows():
    for head_dim, must, goal in ((128, 0.24, 0.40), (64, 0.16, 0.30)):
        for length in (2048, 8192):
            yield target(f"attention-{head_dim}-{length}",
                         f"attention, prefill {length}, head_dim {head_dim}, of the BF16 tile peak", must, goal, "",
                         "kernels_bench", attention_fraction, head_dim, length, needs=("amx",), profile="auto, exact",
                         kernels=True)


def other_rows():
    small = "smollm2-135m"
    yield target("smollm2-decode", "SmolLM2 135M Q4_1, decode against llama.cpp", 1.2, 1.5, "x", "bench/compare FILE",
                 against_llama, small, "Q4_1", DECODE)
    yield target("smollm2-batch-32", "SmolLM2 135M Q4_1, decode with batch 32 against llama.cpp", 2.0, 4.0, "x",
                 "bench/compare FILE", against_llama, small, "Q4_1", BATCHES[32])
    yield target("start-8B", "second start of the 8B shape, page cache warm", 2.0, 1.0, "s", "run -n 1 --json", second_start,
                 at_most=True)
    for isa in llama_cpp.SETS:
        for what, test in (("decode", DECODE), ("prefill", PREFILL)):
            yield target(f"isa-{isa}-{what}", f"forced {isa}, {what}, 1B Q4_0, against llama.cpp built for it", 1.0, 1.3, "x",
                         f"DUNLIN_ISA={isa} bench model", against_llama, SHAPES["1B"], "Q4_0", test, isa, needs=(isa,))
    for name, shape in SHAPES.items():
        yield target(f"memory-{name}", f"peak resident memory over arenas and cache, {name} Q4_0", 1.02, None, "x",
                     "plan; run", memory_share, shape, at_most=True)


def mixture_rows():
    """All layers, since the output matrix is a third of what a token reads even then."""
    shape, title = "gpt-oss-20b", "GPT-OSS-20B MXFP4"
    yield target("moe-decode", f"decode, batch 1, {title}, the bytes that a token touches, of `stream_gb_s`", 0.85, None, "",
                 "bench model -p 0 -n 32 -d 16", decode_fraction, shape, "MXFP4")
    yield target("moe-llama-decode", f"decode, {title}, against llama.cpp on the same file", 1.15, None, "x",
                 "bench/compare FILE", against_llama, shape, "MXFP4", DECODE)
    yield target("moe-llama-prefill", f"prefill 512, {title}, against llama.cpp on the same file", 3.0, None, "x",
                 "bench/compare FILE", against_llama, shape, "MXFP4", PREFILL)
    for what, test, must in (("decode", DECODE, 1.15), ("prefill", PREFILL, 3.0)):
        yield target(f"moe-int8-{what}", f"{what}, {title}, activations in 8 bits as llama.cpp's, against it", must, None, "x",
                     "bench/compare --precision int8 FILE", against_llama, shape, "MXFP4", test, None, "int8", profile="int8")


def all_targets():
    return [*decode_rows(), *peer_rows(), *depth_rows(), *prefill_rows(), *batch_rows(), *attention_rows(), *mixture_rows(),
            *other_rows()]
