"""What bench/ahead_of_time compiles: the rows of docs/tpu.md, the devices they are for, and the commands behind them."""

import dataclasses
import math

import measure

MODELS = measure.ROOT / "docs" / "planning"
DECODE, LOOP, PROMPT = "decode", "loop", "prompt"
LOOP_STEPS = 8  # of a loop that one call computes
PROMPT_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Place:
    """Devices, as `compile` names them (a topology, and a mesh where there are several) and as flags of `plan` do."""
    topology: str
    mesh: str
    device: tuple[str, ...]

    @property
    def parts(self):
        """Of the batch: groups of devices that share no sequence."""
        sizes = dict(axis.split("=") for axis in self.mesh.split(",") if axis)
        return math.prod(int(sizes.get(axis, 1)) for axis in ("data", "expert"))

    @property
    def mesh_flags(self):
        return ["--mesh", self.mesh] if self.mesh else []


def tpu(kind, grid, mesh="", cores=1):
    """A slice; `cores`: devices of a chip."""
    devices = cores * math.prod(int(side) for side in grid.split("x"))
    split = ("--split-cores",) if cores == 2 else ()
    return Place(f"{kind}:{grid}", mesh, ("--device", kind, "--devices", str(devices), *split))


def h200(devices=1):
    return Place("h200", f"model={devices}" if devices > 1 else "", ("--device", "h200", "--devices", str(devices)))


@dataclasses.dataclass(frozen=True)
class Row:
    """A model on the first of `places` that holds it: `batch` sequences of `context` positions, and a prompt's 512 rows."""
    key: str
    title: str  # the model and its weights
    model: str  # docs/planning/NAME.json
    places: tuple[Place, ...]
    batch: int
    context: int
    formats: tuple[str, ...] = ()  # flags that compile and plan share
    kinds: tuple[str, ...] = (DECODE, PROMPT)
    canvas: bool = False  # a diffusion model: passes over whole canvases, and no tokens one by one
    published: float | None = None  # tokens/s of a sequence

    def programs(self, place):
        """{kind: name} as `compile` names its programs."""
        slots = -(-self.batch // place.parts)
        step = f"{slots}x1 rows, {slots} logit rows, {self.context} positions"
        names = {DECODE: step, LOOP: f"{step}, {LOOP_STEPS} steps",
                 PROMPT: f"1x{PROMPT_ROWS} rows, 1 logit rows, {self.context} positions"}
        return {kind: names[kind] for kind in self.kinds}

    def sizes(self):
        return ["-c", self.context, "--parallel", self.batch, "-ub", PROMPT_ROWS]

    def compile_command(self, dunlin, place):
        """One program at a time, so that its seconds are its own."""
        only = [word for name in self.programs(place).values() for word in ("--only", name)]
        steps = LOOP_STEPS if LOOP in self.kinds else 1
        return [dunlin, "compile", MODELS / f"{self.model}.json", "--topology", place.topology, *place.mesh_flags,
                *self.sizes(), *self.formats, "--steps-per-call", steps, "-t", 1, *only, "--json", "-q"]

    def plan_command(self, dunlin, place):
        """Of a step that finds the cache full, as the program reads it, and of a prompt that finds it empty. A canvas has one
        mask: its program computes logits of one row."""
        prompt = ["--prompt", PROMPT_ROWS - 1, "-n", 1] if self.canvas else ["--prompt", PROMPT_ROWS]
        return [dunlin, "plan", MODELS / f"{self.model}.json", *place.device, *place.mesh_flags, *self.sizes(), *prompt,
                "--fill", 1, *self.formats, "--json"]


INT8 = ("--quantize", "int8", "--output-type", "bf16")

# README of jax-llm-examples' llama3 (jax 0.6.0), 70B in int8 on v5e-16: {(mesh, batch, context): tokens/s of a sequence}.
PUBLISHED_70B = {("model=16", 8, 2048): 159, ("model=16", 32, 8192): 93.8, ("data=2,model=8", 8, 2048): 84.4,
                 ("data=2,model=8", 32, 8192): 71.3}


def rows_70b():
    for (mesh, batch, context), published in PUBLISHED_70B.items():
        name = "tp16" if mesh == "model=16" else "dp2tp8"
        # A loop of one of them: what it needs beside a step is the same for all.
        kinds = (DECODE, LOOP, PROMPT) if (name, batch) == ("tp16", 8) else (DECODE, PROMPT)
        yield Row(f"70b-{name}-{batch}x{context}", "Llama-3.1-70B, int8", "llama-3.1-70b", (tpu("v5e", "4x4", mesh),), batch,
                  context, INT8, kinds, published=published)


def tpu_rows():
    yield from rows_70b()
    yield Row("8b-v5e", "Llama-3.1-8B, int8", "llama-3.1-8b", (tpu("v5e", "1x1"),), 8, 2048, INT8, (DECODE, LOOP, PROMPT))
    yield Row("8b-bf16-v5e", "Llama-3.1-8B, BF16", "llama-3.1-8b", (tpu("v5e", "1x1"),), 8, 2048)
    yield Row("gpt-oss-v6e", "GPT-OSS-20B, MXFP4", "gpt-oss-20b", (tpu("v6e", "2x2", "model=4"),), 8, 2048,
              kinds=(DECODE, LOOP, PROMPT))
    # libtpu counts two devices for a v4 chip.
    yield Row("dream-v4", "Dream-7B, BF16", "dream-7b", (tpu("v4", "2x2x1", "data=2,model=4", cores=2),), 2, PROMPT_ROWS,
              kinds=(PROMPT,), canvas=True)
    yield Row("405b-v5e", "Llama-3.1-405B, int8", "llama-3.1-405b",
              (tpu("v5e", "4x4", "model=16"), tpu("v5e", "4x8", "model=32"), tpu("v5e", "8x8", "model=64"),
               tpu("v5e", "8x16", "model=128")), 8, 2048, INT8)


def gpu_rows():
    yield Row("70b-h200", "Llama-3.1-70B, int8", "llama-3.1-70b", (h200(),), 8, 2048, INT8, (DECODE, LOOP, PROMPT))
    yield Row("8b-h200", "Llama-3.1-8B, int8", "llama-3.1-8b", (h200(),), 8, 2048, INT8, (DECODE, LOOP, PROMPT))
    yield Row("gpt-oss-h200", "GPT-OSS-20B, MXFP4", "gpt-oss-20b", (h200(),), 8, 2048)
    yield Row("dream-h200", "Dream-7B, BF16", "dream-7b", (h200(),), 2, PROMPT_ROWS, kinds=(PROMPT,), canvas=True)
    yield Row("405b-h200", "Llama-3.1-405B, int8", "llama-3.1-405b", (h200(2), h200(4), h200(8)), 8, 2048, INT8)


def all_rows():
    return [*tpu_rows(), *gpu_rows()]
