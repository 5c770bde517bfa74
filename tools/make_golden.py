#!/usr/bin/env python3
"""Writes tiny random llama, qwen2 and Dream models with what transformers computes for them, as goldens.

    pip install -r tools/requirements.txt torch transformers safetensors
    python tools/make_golden.py --out tests/data            # all models, or those named after it
    python tools/make_golden.py --out tests/data --check    # recompute what is there in numpy

One folder per model: recipe.json, golden.safetensors (names and shapes as `dunlin verify` reads
them), and for the tiny ones model/ (a Hugging Face directory) and model.gguf. The weights of the
kernel shapes are too large to commit: a test writes them from recipe.json
(tests/support/synthetic_model.h), because every weight is a formula of its place:

    key   = splitmix64(fnv1a64(tensor name) + seed)
    code  = (splitmix64(key + element) >> 32) mod (2 span + 1) - span
    value = (offset + code) * 2^-exponent

At most 8 significant bits: exact in BF16, F16 and F32 alike. splitmix64: Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014. fnv1a64: the hash of Fowler, Noll
and Vo.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy as np

import diffusion_golden
import model_files
import numpy_llama

GREEDY_TOKENS = 12
# A smaller gap between the two best logits of a greedy step, relative to the largest logit, is a
# near-tie that rounding may decide: such a seed is refused.
SMALLEST_GAP = 1e-3
KERNEL_PROMPT = 300  # more rows than any tile, and not a multiple of one
KERNEL_VOCAB = 384
# Families with Qwen2's biases and keys of config.json; others have Llama's.
QWEN2_BLOCKS = ("qwen2", "Dream")
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@dataclasses.dataclass(frozen=True)
class Model:
    """A shape and how its files are written."""

    name: str
    style: int  # config.json of transformers 4 or 5
    dtype: str
    hidden: int
    inter: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    seed: int = 1
    prompt: int = 24  # tokens
    tied: bool = False
    bias: bool = False  # llama's attention_bias and mlp_bias
    theta: float = 10000.0
    eps: float = 1e-5
    scaling: dict | None = None
    eos: int | list = 2
    generation: dict | None = None  # generation_config.json
    shards: int = 1
    defaults: bool = False  # leave out the keys that have a default
    extra: dict | None = None  # further keys of config.json, or other values
    committed: bool = True
    # Of models that fill in masks: masks behind the prompt, their token, and the thresholds of
    # confidence_threshold, one golden file for each.
    new_tokens: int = 0
    mask_id: int = 0
    thresholds: tuple = ()
    head_gain: float = 1.0  # more: surer predictions

    @property
    def family(self):
        """The model_type: the one that the name holds."""
        return next(each for each in model_files.ARCHITECTURES if each.lower() in self.name)


# fmt: off
MODELS = [
    # name, style, dtype, hidden, inter, layers, heads, kv heads, head_dim, vocabulary
    Model("llama_plain", 4, "F32", 64, 160, 2, 4, 2, 16, 160, eos=[2, 5],
          generation={"eos_token_id": [2, 5, 9], "temperature": 0.6, "top_p": 0.9,
                      "do_sample": True}),
    Model("llama_defaults", 4, "F32", 64, 96, 1, 4, 4, 16, 128, eps=1e-6, defaults=True),
    Model("llama_tied_bias", 5, "BF16", 64, 96, 2, 4, 2, 24, 160, tied=True, bias=True),
    Model("llama3_scaled", 4, "F32", 64, 96, 2, 4, 2, 32, 128, seed=2, prompt=48, theta=500000.0,
          scaling={**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 32}, eos=[2, 3],
          shards=2),
    Model("llama3_scaled_tied", 5, "BF16", 64, 96, 2, 8, 2, 16, 128, prompt=48, tied=True,
          scaling={**LLAMA3, "factor": 32.0, "original_max_position_embeddings": 32}),
    Model("llama_heads_9_3", 5, "BF16", 144, 96, 1, 9, 3, 16, 128, theta=100000.0),
    Model("qwen2_tied", 4, "BF16", 64, 160, 2, 4, 2, 16, 160, tied=True, theta=1e6, eps=1e-6),
    Model("qwen2_untied", 5, "F16", 64, 96, 3, 4, 1, 16, 160, eps=1e-6, eos=[2, 7]),
    Model("qwen2_heads_14_2", 4, "F32", 112, 96, 1, 14, 2, 8, 128, eps=1e-6),
    # DeepSeek-R1-Distill-Qwen: untied, a base of 10000 written as an integer, bos and eos one id in
    # config.json and two in generation_config.json, keys of its own.
    Model("r1_distill_qwen2", 4, "BF16", 96, 128, 2, 12, 2, 8, 144, theta=10000, eps=1e-6, eos=141,
          generation={"_from_model_config": True, "bos_token_id": 142, "eos_token_id": 141,
                      "do_sample": True, "temperature": 0.6, "top_p": 0.95},
          extra={"bos_token_id": 141, "attention_dropout": 0.0, "initializer_range": 0.02,
                 "sliding_window": 4096, "max_window_layers": 1, "use_cache": True,
                 "use_mrope": False}),
    # DeepSeek-R1-Distill-Llama.
    Model("r1_distill_llama", 4, "BF16", 64, 96, 2, 8, 2, 8, 144, prompt=48, theta=500000.0,
          scaling={**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 32}, eos=141,
          generation={"_from_model_config": True, "bos_token_id": 140, "eos_token_id": 141,
                      "do_sample": True, "temperature": 0.6, "top_p": 0.95},
          extra={"bos_token_id": 140, "attention_dropout": 0.0, "initializer_range": 0.02,
                 "pretraining_tp": 1, "use_cache": True}),
    Model("dream_plain", 4, "F32", 64, 160, 2, 4, 2, 16, 160, seed=4, prompt=9, theta=1e6, eps=1e-6,
          new_tokens=24, mask_id=157, thresholds=(0.9, 0.5), head_gain=4.0,
          extra={"mask_token_id": 157, "pad_token_id": 2}),
    # Heads in groups of seven, a last block shorter than the others, more than a page of the cache.
    Model("dream_heads_14_2", 4, "BF16", 112, 96, 2, 14, 2, 8, 160, seed=3, prompt=21, theta=1e6, eps=1e-6,
          new_tokens=20, mask_id=3, thresholds=(0.8, 0.3), head_gain=4.0,
          extra={"mask_token_id": 3, "pad_token_id": 2}),
    Model("kernel_llama_9_3", 4, "BF16", 576, 1536, 2, 9, 3, 64, KERNEL_VOCAB, seed=3, tied=True,
          theta=100000.0, prompt=KERNEL_PROMPT, committed=False),
    Model("kernel_llama3_6_2", 5, "BF16", 768, 2048, 2, 6, 2, 128, KERNEL_VOCAB,
          scaling={**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 128},
          prompt=KERNEL_PROMPT, committed=False),
    Model("kernel_qwen2_14_2", 4, "BF16", 896, 2048, 2, 14, 2, 64, KERNEL_VOCAB, tied=True,
          theta=1e6, eps=1e-6, prompt=KERNEL_PROMPT, committed=False),
]
# fmt: on


# ------------------------------------------------------------------------------- weights by formula


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def splitmix64(values):
    """The output function of splitmix64 for uint64 states that have not been advanced yet."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def hashes(name, seed, count):
    key = splitmix64(np.array([(fnv1a64(name) + seed) % 2**64], np.uint64))
    with np.errstate(over="ignore"):
        return splitmix64(key + np.arange(count, dtype=np.uint64)) >> np.uint64(32)


def tensor_values(tensor, seed):
    """float32 array of one entry of recipe.json."""
    span = tensor["span"]
    codes = hashes(tensor["name"], seed, math.prod(tensor["shape"])) % np.uint64(2 * span + 1)
    values = (tensor["offset"] + codes.astype(np.int64) - span) * 2.0 ** -tensor["exponent"]
    return values.astype(np.float32).reshape(tensor["shape"])


def matrix(name, rows, columns, gain=1.0):
    """Standard deviation about gain / sqrt(columns): codes in -127..127 have one of 73.3."""
    exponent = round(math.log2(73.3 * math.sqrt(columns) / gain))
    return {"name": name, "shape": [rows, columns], "offset": 0, "span": 127, "exponent": exponent}


def vector(name, size, offset):
    """A norm weight in 0.5..1.5 (offset 128), or a bias in -0.5..0.5 (offset 0)."""
    return {"name": name, "shape": [size], "offset": offset, "span": 63, "exponent": 7}


def tensor_list(model):
    """Every tensor of the model, sorted by name as safetensors files are."""
    width, kv_width = model.heads * model.head_dim, model.kv_heads * model.head_dim
    qkv_bias, rest_bias = model.bias or model.family in QWEN2_BLOCKS, model.bias
    # Embeddings of deviation 1/8, so that the layers rather than the last token decide tied logits;
    # q and k doubled, so that attention is far from uniform and a wrong rotation shows.
    tensors = [
        matrix("model.embed_tokens.weight", model.vocab, model.hidden, math.sqrt(model.hidden) / 8),
        vector("model.norm.weight", model.hidden, 128),
    ]
    if not model.tied:
        tensors.append(matrix("lm_head.weight", model.vocab, model.hidden, model.head_gain))
    for layer in range(model.layers):
        at = f"model.layers.{layer}."
        for name in ["input_layernorm", "post_attention_layernorm"]:
            tensors.append(vector(f"{at}{name}.weight", model.hidden, 128))
        for name, rows, columns, gain, biased in [
            ("self_attn.q_proj", width, model.hidden, 2.0, qkv_bias),
            ("self_attn.k_proj", kv_width, model.hidden, 2.0, qkv_bias),
            ("self_attn.v_proj", kv_width, model.hidden, 1.0, qkv_bias),
            ("self_attn.o_proj", model.hidden, width, 1.0, rest_bias),
            ("mlp.gate_proj", model.inter, model.hidden, 2.0, rest_bias),
            ("mlp.up_proj", model.inter, model.hidden, 1.0, rest_bias),
            ("mlp.down_proj", model.hidden, model.inter, 1.0, rest_bias),
        ]:
            tensors.append(matrix(f"{at}{name}.weight", rows, columns, gain))
            if biased:
                tensors.append(vector(f"{at}{name}.bias", rows, 0))
    return sorted(tensors, key=lambda tensor: tensor["name"])


# --------------------------------------------------------------------------------- files of a model


def make_config(model):
    """config.json as transformers 4 or 5 writes it."""
    config = {
        "architectures": [model_files.ARCHITECTURES[model.family]],
        "model_type": model.family,
        "hidden_size": model.hidden,
        "intermediate_size": model.inter,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "vocab_size": model.vocab,
        "max_position_embeddings": 512,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": model.eos,
    }
    if model.defaults:
        return config
    config |= {
        "num_key_value_heads": model.kv_heads,
        "rms_norm_eps": model.eps,
        "tie_word_embeddings": model.tied,
    }
    if model.family in QWEN2_BLOCKS:
        config |= {
            "use_sliding_window": False,
            "sliding_window": 16,
            "max_window_layers": model.layers,
        }
    else:
        config |= {"attention_bias": model.bias, "mlp_bias": model.bias}
        if model.head_dim * model.heads != model.hidden or model.style == 5:
            config["head_dim"] = model.head_dim
    config |= model.extra or {}
    dtype = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[model.dtype]
    if model.style == 4:
        return config | {
            "rope_theta": model.theta,
            "rope_scaling": model.scaling,
            "torch_dtype": dtype,
        }
    rope = {"rope_theta": model.theta, **(model.scaling or {"rope_type": "default"})}
    return config | {"rope_parameters": rope, "dtype": dtype}


def make_recipe(model):
    recipe = {
        "seed": model.seed,
        "dtype": model.dtype,
        "shards": model.shards,
        "config": make_config(model),
    }
    if model.generation:
        recipe["generation_config"] = model.generation
    return recipe | {"tensors": tensor_list(model)}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_recipe(path, recipe):
    """JSON with one line per tensor."""
    lines = [
        f" {json.dumps(key)}: {json.dumps(value)}"
        for key, value in recipe.items()
        if key not in ("tensors", "gguf")
    ]
    for key, rows in [("tensors", recipe["tensors"]), ("gguf", recipe["gguf"])]:
        lines.append(f' "{key}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_directory(folder, recipe):
    """A Hugging Face directory; shard i of n holds tensors [i T / n, (i + 1) T / n) by name."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    write_json(folder / "config.json", recipe["config"])
    if "generation_config" in recipe:
        write_json(folder / "generation_config.json", recipe["generation_config"])
    dtype = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[recipe["dtype"]]
    tensors, count, files, total = recipe["tensors"], recipe["shards"], {}, 0
    for shard in range(count):
        part = tensors[shard * len(tensors) // count : (shard + 1) * len(tensors) // count]
        arrays = {tensor["name"]: tensor_values(tensor, recipe["seed"]) for tensor in part}
        values = {name: torch.from_numpy(array).to(dtype) for name, array in arrays.items()}
        suffix = "" if count == 1 else f"-{shard + 1:05}-of-{count:05}"
        name = f"model{suffix}.safetensors"
        save_file(values, folder / name, metadata={"format": "pt"})
        files |= dict.fromkeys(values, name)
        total += sum(value.nbytes for value in values.values())
    if count > 1:
        index = {"metadata": {"total_size": total}, "weight_map": files}
        write_json(folder / "model.safetensors.index.json", index)


def write_gguf(folder, path, recipe):
    """Runs hf_to_gguf.py on the directory; notes in the recipe what the file holds, in order."""
    converter = pathlib.Path(model_files.__file__).with_name("hf_to_gguf.py")
    subprocess.run([sys.executable, converter, folder, path, "--type", recipe["dtype"]], check=True)
    reader = gguf.GGUFReader(path)
    sources = {
        model_files.gguf_name(tensor["name"]): tensor["name"] for tensor in recipe["tensors"]
    }
    rows = []
    for field in reader.fields.values():
        if not field.name.startswith("GGUF."):
            rows.append({"key": field.name, "type": field.types[0].name, "value": field.contents()})
    for tensor in reader.tensors:
        row = {"tensor": tensor.name, "type": tensor.tensor_type.name}
        if tensor.name == "rope_freqs.weight":
            row["values"] = [float(value) for value in tensor.data]
        else:
            row["source"] = sources[tensor.name]
            if recipe["config"]["model_type"] == "llama" and (
                ".attn_q." in tensor.name or ".attn_k." in tensor.name
            ):
                row["interleaved_head_dim"] = model_files.head_dim(recipe["config"])
        rows.append(row)
    recipe["gguf"] = rows


# --------------------------------------------------------------------------- values of transformers


def watched_modules(network):
    """The module whose output is each golden value."""
    modules = {
        "hidden.0": network.model.embed_tokens,
        "final_norm": network.model.norm,
        "logits": network.lm_head,
    }
    for i, layer in enumerate(network.model.layers):
        modules |= {
            f"hidden.{i + 1}": layer,
            f"norm1.{i}": layer.input_layernorm,
            f"q.{i}": layer.self_attn.q_proj,
            f"k.{i}": layer.self_attn.k_proj,
            f"v.{i}": layer.self_attn.v_proj,
            f"attn_out.{i}": layer.self_attn.o_proj,
            f"norm2.{i}": layer.post_attention_layernorm,
            f"gate.{i}": layer.mlp.gate_proj,
            f"up.{i}": layer.mlp.up_proj,
            f"mlp_out.{i}": layer.mlp.down_proj,
        }
    return modules


def record(network, names):
    """Installs hooks; the next forward pass fills the returned dictionary, [S, width] each."""
    values = {}

    def keep(name):
        def hook(_module, _inputs, output):
            whole = output[0] if isinstance(output, tuple) else output
            values[name] = whole.reshape(-1, whole.shape[-1])

        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in watched_modules(network).items()
        if names is None or name in names
    ]
    return values, handles


def require_clear_winner(logits, step):
    """Raises when the best two logits of a row are a near-tie."""
    second, first = np.sort(logits)[-2:]
    if first - second <= SMALLEST_GAP * np.abs(logits).max():
        raise ValueError(
            f"greedy step {step} is a near-tie ({first} and {second}): choose another seed"
        )


def greedy(network, prompt):
    """(ids, logits [G, V]) by whole passes without a cache, confirmed by passes with one."""
    import torch

    ids, rows, cache = list(prompt), [], None
    pending = list(prompt)
    for step in range(GREEDY_TOKENS):
        row = network(torch.tensor([ids]), use_cache=False).logits[0, -1]
        cached = network(torch.tensor([pending]), past_key_values=cache, use_cache=True)
        cache = cached.past_key_values
        torch.testing.assert_close(cached.logits[0, -1], row, rtol=1e-4, atol=1e-4)
        require_clear_winner(row.numpy(), step)
        assert int(cached.logits[0, -1].argmax()) == int(row.argmax())
        pending = [int(row.argmax())]
        ids += pending
        rows.append(row.numpy())
    return ids[len(prompt) :], np.stack(rows)


def require_varied(ids, eos):
    """Raises for a continuation that a wrong cache may repeat or that a stop token would cut."""
    if len(set(ids)) < len(ids) * 2 // 3:
        raise ValueError(f"greedy ids {ids} repeat: choose another seed")
    if set(ids) & set(eos):
        raise ValueError(f"greedy ids {ids} hold a stop token of {eos}: choose another seed")


def as_list(ids):
    return [ids] if isinstance(ids, int) else ids


def make_golden(model, folder):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    network = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    network.eval()
    tokens = hashes("input_ids", model.seed, model.prompt) % np.uint64(model.vocab)
    prompt = tokens.astype(np.int32)
    names = None if model.committed else {f"hidden.{model.layers}", "logits"}
    with torch.no_grad():
        values, handles = record(network, names)
        network(torch.tensor(prompt[None].tolist()), use_cache=False)
        for handle in handles:
            handle.remove()
        ids, logits = greedy(network, prompt.tolist())
    stops = as_list(model.eos) + as_list((model.generation or {}).get("eos_token_id", []))
    require_varied(ids, set(stops))
    golden = {name: value.numpy().copy() for name, value in values.items()}
    golden |= {"input_ids": prompt, "greedy_ids": np.array(ids, np.int32), "greedy_logits": logits}
    # One entry: safetensors writes several in an order that changes from run to run.
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    return golden, {"generator": f"tools/make_golden.py, {versions}"}


def prompt_of(model):
    """Any tokens but the mask."""
    tokens = hashes("input_ids", model.seed, model.prompt) % np.uint64(model.vocab)
    return [int(token) for token in tokens if not model.new_tokens or token != model.mask_id]


def generate_diffusion(model, out, place):
    import transformers

    import torch

    generator = f"tools/make_golden.py, transformers {transformers.__version__}, torch {torch.__version__}"
    prompt = prompt_of(model)
    assert len(prompt) == model.prompt, "the prompt holds the mask: choose another seed"
    files = diffusion_golden.goldens(model, place / "model", prompt, record)
    for name, (arrays, metadata) in files.items():
        diffusion_golden.save(arrays, out / model.name / name, metadata | {"generator": generator})
        print(f"{model.name}/{name}: {[int(v[0]) for k, v in arrays.items() if k.endswith('.nfe')]} passes")


def generate(model, out):
    from safetensors.numpy import save_file

    shutil.rmtree(out / model.name, ignore_errors=True)
    (out / model.name).mkdir(parents=True)
    recipe = make_recipe(model)
    with tempfile.TemporaryDirectory() as scratch:
        place = out / model.name if model.committed else pathlib.Path(scratch)
        write_directory(place / "model", recipe)
        write_gguf(place / "model", place / "model.gguf", recipe)
        if model.new_tokens:
            generate_diffusion(model, out, place)
        else:
            golden, metadata = make_golden(model, place / "model")
    write_recipe(out / model.name / "recipe.json", recipe)
    if model.new_tokens:
        return
    save_file(golden, out / model.name / "golden.safetensors", metadata=metadata)
    print(f"{model.name}: greedy ids {golden['greedy_ids'].tolist()}")


# ------------------------------------------------------------------------------- the check in numpy


def compare(label, golden, weights, hyper):
    """Largest difference of any tensor, relative to its largest value; exits above 1e-4."""
    ids = golden["input_ids"].tolist()
    computed = numpy_llama.forward(weights, hyper, ids)
    rows = []
    for token in golden.get("greedy_ids", np.array([])).tolist():
        rows.append(numpy_llama.forward(weights, hyper, ids)["logits"][-1])
        if int(rows[-1].argmax()) != token:
            raise SystemExit(
                f"{label}: greedy token {len(rows)} is {rows[-1].argmax()}, the golden has {token}"
            )
        ids.append(token)
    if rows:
        computed["greedy_logits"] = np.stack(rows)
    worst = 0.0
    for name in sorted(set(golden) - {"input_ids", "greedy_ids"}):
        if name.startswith(("diff.", "fast.")):
            continue  # the loops over these logits: tools/diffusion_loops.py
        if hyper.interleaved and name.split(".")[0] in ("q", "k"):
            continue  # the same numbers in another order
        difference = np.abs(golden[name] - computed[name]).max() / np.abs(computed[name]).max()
        if not difference <= 1e-4:
            raise SystemExit(f"{label}: {name} differs by {difference:.2e} of its largest value")
        worst = max(worst, difference)
    return worst


def check(model, out):
    from safetensors.numpy import load_file

    golden = load_file(out / model.name / "golden.safetensors")
    recipe = json.loads((out / model.name / "recipe.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        place = out / model.name
        if not model.committed:
            place = pathlib.Path(scratch)
            write_directory(place / "model", recipe)
            write_gguf(place / "model", place / "model.gguf", recipe)
        config = json.loads((place / "model" / "config.json").read_text())
        reader = gguf.GGUFReader(place / "model.gguf")
        weights = numpy_llama.directory_weights(place / "model")
        hyper = numpy_llama.hyper_from_config(config)
        differences = [compare(f"{model.name} directory", golden, weights, hyper)]
        weights, hyper = numpy_llama.gguf_weights(reader), numpy_llama.hyper_from_gguf(reader)
        differences.append(compare(f"{model.name} gguf", golden, weights, hyper))
    print(
        f"{model.name}: {len(golden)} tensors, largest relative difference {max(differences):.1e}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument(
        "--check", action="store_true", help="verify what is there instead of writing it"
    )
    parser.add_argument("names", nargs="*", help="models; all when none is named")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {model.name for model in MODELS}
    if unknown:
        raise SystemExit(
            f"no model {sorted(unknown)}; there are {[model.name for model in MODELS]}"
        )
    for model in MODELS:
        if not arguments.names or model.name in arguments.names:
            (check if arguments.check else generate)(model, arguments.out)


if __name__ == "__main__":
    main()
