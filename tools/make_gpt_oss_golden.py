#!/usr/bin/env python3
"""Writes tiny random GPT-OSS models with what transformers computes for them, as goldens.

    pip install -r tools/requirements.txt torch transformers safetensors
    python tools/make_gpt_oss_golden.py --out tests/data            # all models, or those named after it
    python tools/make_gpt_oss_golden.py --out tests/data --check    # recompute what is there in numpy

One folder per model: model/ (a Hugging Face directory), model.gguf and golden.safetensors (names and
shapes as `dunlin verify` reads them). Weights are a formula of their place (make_golden.py). Experts
are stored as their publishers do: MXFP4 as blocks and scales, or unquantised the other way round,
gate and up in turn; in GGUF files apart, or one behind the other. transformers gets the same numbers
in float32, so that nothing depends on kernels for MXFP4.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil

import gguf
import numpy as np

import model_files
from make_golden import SMALLEST_GAP, greedy, hashes, matrix, require_varied, tensor_values, vector

FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
YARN = {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0}


@dataclasses.dataclass(frozen=True)
class Model:
    """A shape and how its files are written."""

    name: str
    dtype: str  # of all but experts in MXFP4: F32, BF16, F16
    mxfp4: bool
    hidden: int
    inter: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    chosen: int
    window: int
    style: int = 4  # config.json of transformers 4 or 5
    truncate: bool = False
    says_yarn: bool = True  # otherwise config.json has no rope scaling, which means the same
    original_positions: int = 4096
    theta: float = 150000.0
    favourite: int | None = None  # the expert that every token is sent to
    merged: bool = False  # gate and up in one tensor of the GGUF file
    shards: int = 1
    layer_types: bool = False  # in config.json
    vocab: int = 160
    prompt: int = 24
    seed: int = 1
    eps: float = 1e-5


# fmt: off
MODELS = [
    # name, dtype, mxfp4, hidden, inter, layers, heads, kv heads, head_dim, experts, chosen, window
    Model("gpt_oss_mxfp4", "BF16", True, 64, 32, 3, 8, 2, 16, 6, 4, 8, layer_types=True),
    Model("gpt_oss_bf16", "BF16", False, 64, 40, 2, 4, 2, 24, 6, 4, 5, style=5, truncate=True,
          original_positions=64, theta=10000.0, layer_types=True),
    Model("gpt_oss_one_expert", "F32", False, 48, 32, 2, 4, 1, 16, 4, 1, 128, says_yarn=False,
          favourite=2),
    Model("gpt_oss_merged", "F16", True, 64, 64, 2, 6, 3, 32, 8, 4, 16, style=5,
          original_positions=128, merged=True, shards=2, prompt=48),
]
# fmt: on


# ------------------------------------------------------------------------------------------ weights


def plain_tensors(model):
    """Recipes of every tensor but the experts' matrices, by Hugging Face name."""
    width, kv_width = model.heads * model.head_dim, model.kv_heads * model.head_dim
    tensors = [
        matrix("model.embed_tokens.weight", model.vocab, model.hidden, 2.0),
        vector("model.norm.weight", model.hidden, 128),
        matrix("lm_head.weight", model.vocab, model.hidden),
    ]
    for layer in range(model.layers):
        at = f"model.layers.{layer}."
        for name in ["input_layernorm", "post_attention_layernorm"]:
            tensors.append(vector(f"{at}{name}.weight", model.hidden, 128))
        for name, rows, columns, gain in [
            ("self_attn.q_proj", width, model.hidden, 2.0),
            ("self_attn.k_proj", kv_width, model.hidden, 2.0),
            ("self_attn.v_proj", kv_width, model.hidden, 1.0),
            ("self_attn.o_proj", model.hidden, width, 1.0),
            ("mlp.router", model.experts, model.hidden, 2.0),
        ]:
            tensors.append(matrix(f"{at}{name}.weight", rows, columns, gain))
            tensors.append(vector(f"{at}{name}.bias", rows, 0))
        tensors.append(vector(f"{at}self_attn.sinks", model.heads, 64))
        for name, width_out in [("gate_up_proj", 2 * model.inter), ("down_proj", model.hidden)]:
            bias = vector(f"{at}mlp.experts.{name}_bias", model.experts * width_out, 0)
            tensors.append(bias | {"shape": [model.experts, width_out]})
    return tensors


def plain_values(model):
    values = {t["name"]: tensor_values(t, model.seed) for t in plain_tensors(model)}
    if model.favourite is not None:
        for layer in range(model.layers):
            values[f"model.layers.{layer}.mlp.router.bias"][model.favourite] = 64.0
    return values


def expert_shapes(model):
    """[experts, out, in] of each matrix of experts, by Hugging Face name."""
    for layer in range(model.layers):
        at = f"model.layers.{layer}.mlp.experts."
        yield f"{at}gate_up_proj", (model.experts, 2 * model.inter, model.hidden)
        yield f"{at}down_proj", (model.experts, model.hidden, model.inter)


def random_mxfp4(name, shape, seed):
    """(codes [.., in], exponents [.., in / 32]) of a matrix of experts."""
    codes = hashes(name, seed, int(np.prod(shape))) % np.uint64(16)
    blocks = (*shape[:-1], shape[-1] // 32)
    exponents = 122 + hashes(f"{name} exponents", seed, int(np.prod(blocks))) % np.uint64(3)
    return codes.astype(np.uint8).reshape(shape), exponents.astype(np.uint8).reshape(blocks)


def decode_mxfp4(codes, exponents):
    values = np.where(codes & 8, -1, 1) * FP4[codes & 7]
    scales = np.exp2(exponents.astype(np.float32) - 127)
    return (values * np.repeat(scales, 32, axis=-1)).astype(np.float32)


def expert_values(model):
    """float32 [experts, out, in] by name, and what they are stored as in MXFP4."""
    values, stored = {}, {}
    for name, shape in expert_shapes(model):
        if model.mxfp4:
            stored[name] = random_mxfp4(name, shape, model.seed)
            values[name] = decode_mxfp4(*stored[name])
        else:
            recipe = matrix(name, shape[0] * shape[1], shape[2], 3.0)
            values[name] = tensor_values(recipe | {"shape": shape}, model.seed)
    return values, stored


# ------------------------------------------------------------------------------------------- files


def make_config(model):
    """config.json as transformers 4 or 5 writes it."""
    config = {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "attention_bias": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "experts_per_token": model.chosen,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "hidden_size": model.hidden,
        "intermediate_size": model.inter,
        "max_position_embeddings": 512,
        "num_attention_heads": model.heads,
        "num_experts_per_tok": model.chosen,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "num_local_experts": model.experts,
        "rms_norm_eps": model.eps,
        "router_aux_loss_coef": 0.9,
        "sliding_window": model.window,
        "swiglu_limit": 7.0,
        "tie_word_embeddings": False,
        "vocab_size": model.vocab,
    }
    if model.layer_types:
        kinds = ["sliding_attention", "full_attention"]
        config["layer_types"] = [kinds[layer % 2] for layer in range(model.layers)]
    if model.mxfp4:
        kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]
        config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    scaling = YARN | {"original_max_position_embeddings": model.original_positions}
    if not model.truncate:  # the default is true
        scaling["truncate"] = False
    dtype = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[model.dtype]
    if model.style == 5:
        return config | {"rope_parameters": scaling | {"rope_theta": model.theta}, "dtype": dtype}
    config |= {"rope_theta": model.theta, "torch_dtype": dtype}
    return config | {"rope_scaling": scaling} if model.says_yarn else config


def hf_tensors(model, plain, experts, stored):
    """torch tensors as a published checkpoint has them."""
    import torch

    dtype = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[model.dtype]
    tensors = {name: torch.from_numpy(value).to(dtype) for name, value in plain.items()}
    for name, value in experts.items():
        if name in stored:
            codes, exponents = stored[name]
            pairs = codes.reshape(*exponents.shape, 16, 2)
            tensors[f"{name}_blocks"] = torch.from_numpy(pairs[..., 0] | pairs[..., 1] << 4)
            tensors[f"{name}_scales"] = torch.from_numpy(exponents)
        else:
            turned = np.ascontiguousarray(value.swapaxes(1, 2))
            tensors[name] = torch.from_numpy(turned).to(dtype)
    return tensors


def write_directory(folder, model, tensors):
    """Of two shards, the second has the scales, so that pairs lie apart."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = json.dumps(make_config(model), indent=2, sort_keys=True)
    (folder / "config.json").write_text(config + "\n")
    if model.shards == 1:
        save_file(dict(sorted(tensors.items())), folder / "model.safetensors")
        return
    files = {}
    for shard in range(2):
        part = {n: t for n, t in sorted(tensors.items()) if n.endswith("_scales") == (shard == 1)}
        file = f"model-{shard + 1:05}-of-00002.safetensors"
        save_file(part, folder / file)
        files |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": files}
    text = json.dumps(index, indent=2, sort_keys=True)
    (folder / "model.safetensors.index.json").write_text(text + "\n")


def gguf_name(name):
    return model_files.gguf_name(name, "gpt_oss")


def split_gate_up(name, array):
    """(GGUF name, rows) of a tensor of experts [experts, out, ..], gate and up apart."""
    _, _, layer, rest = name.split(".", 3)
    kind = "bias" if rest.endswith("_bias") else "weight"
    if "down_proj" in rest:
        return [(f"blk.{layer}.ffn_down_exps.{kind}", array)]
    return [
        (f"blk.{layer}.ffn_gate_exps.{kind}", array[:, 0::2]),
        (f"blk.{layer}.ffn_up_exps.{kind}", array[:, 1::2]),
    ]


def merge_gate_up(parts):
    if len(parts) == 1:
        return parts
    name = parts[0][0].replace("ffn_gate_exps", "ffn_gate_up_exps")
    return [(name, np.concatenate([array for _, array in parts], axis=1))]


def encode(array, dtype):
    """(array as GGUFWriter takes it, its type)."""
    if dtype == "BF16":
        kind = gguf.GGMLQuantizationType.BF16
        return gguf.quants.quantize(np.ascontiguousarray(array), kind), kind
    kind = gguf.GGMLQuantizationType[dtype]
    return np.ascontiguousarray(array.astype(np.float16 if dtype == "F16" else np.float32)), kind


def encode_mxfp4(codes, exponents):
    """ggml's blocks [.., in / 32 * 17]."""
    halves = codes.reshape(*exponents.shape, 2, 16)
    nibbles = halves[..., 0, :] | halves[..., 1, :] << 4
    blocks = np.concatenate([exponents[..., None], nibbles], axis=-1)
    return np.ascontiguousarray(blocks.reshape(*codes.shape[:-1], -1))


def write_gguf(path, model, plain, experts, stored):
    writer = gguf.GGUFWriter(path, "gpt-oss")
    config = make_config(dataclasses.replace(model, says_yarn=True))
    model_files.add_header(writer, config, model.name)
    for name in ["bos", "eos"]:
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", config[f"{name}_token_id"])
    arrange = merge_gate_up if model.merged else lambda parts: parts
    for name, value in sorted(plain.items()):
        parts = [(None, value)]
        if ".mlp.experts." in name:
            parts = arrange(split_gate_up(name, value))
        for target, array in parts:
            vector_like = array.ndim == 1 or ".mlp." in name
            data, kind = encode(array, "F32" if vector_like else model.dtype)
            writer.add_tensor(target or gguf_name(name), data, raw_dtype=kind)
    for name, value in experts.items():
        kind = gguf.GGMLQuantizationType.MXFP4
        whole = encode_mxfp4(*stored[name]) if name in stored else value
        for target, array in arrange(split_gate_up(name, whole)):
            data = np.ascontiguousarray(array)
            if name not in stored:
                data, kind = encode(array, model.dtype)
            writer.add_tensor(target, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --------------------------------------------------------------------------- values of transformers


def load_network(folder, plain, experts):
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    network = transformers.GptOssForCausalLM(config).to(torch.float32)
    weights = {name: torch.from_numpy(value) for name, value in plain.items()}
    for name, value in experts.items():
        weights[name] = torch.from_numpy(np.ascontiguousarray(value.swapaxes(1, 2)))
    network.load_state_dict(weights, strict=True)
    return network.eval()


def record(network):
    """Installs hooks; the next forward pass fills the returned dictionary, [S, width] each."""
    values, handles = {}, []

    def watch(module, *names):
        """The name of each of the module's results, or None."""

        def hook(_module, _inputs, output):
            outputs = output if isinstance(output, tuple) else (output,)
            for name, value in zip(names, outputs):
                if name is not None:
                    values[name] = value.reshape(-1, value.shape[-1])

        handles.append(module.register_forward_hook(hook))

    watch(network.model.embed_tokens, "hidden.0")
    watch(network.model.norm, "final_norm")
    watch(network.lm_head, "logits")
    for i, layer in enumerate(network.model.layers):
        watch(layer, f"hidden.{i + 1}")
        watch(layer.input_layernorm, f"norm1.{i}")
        for name in "qkv":
            watch(getattr(layer.self_attn, f"{name}_proj"), f"{name}.{i}")
        watch(layer.self_attn.o_proj, f"attn_out.{i}")
        watch(layer.post_attention_layernorm, f"norm2.{i}")
        watch(layer.mlp.router, None, f"router_w.{i}", f"router_idx.{i}")
        watch(layer.mlp, f"mlp_out.{i}")
    return values, handles


def require_clear_choice(model, golden, network):
    """Raises where the last chosen expert and the first that is not are a near-tie."""
    for layer in range(model.layers):
        router = network.model.layers[layer].mlp.router
        weight, bias = (part.detach().numpy() for part in (router.weight, router.bias))
        logits = np.sort(golden[f"norm2.{layer}"] @ weight.T + bias, axis=-1)[:, ::-1]
        gaps = logits[:, :-1] - logits[:, 1:]
        closest = gaps[:, : model.chosen].min() if model.chosen < model.experts else 1.0
        if closest < SMALLEST_GAP:
            raise ValueError(f"{model.name}: experts of layer {layer} are a near-tie: another seed")
        if model.favourite is not None:
            assert (golden[f"router_idx.{layer}"] == model.favourite).all()


def make_golden(model, folder, plain, experts):
    import torch
    import transformers

    network = load_network(folder, plain, experts)
    prompt = (hashes("input_ids", model.seed, model.prompt) % np.uint64(model.vocab)).astype(np.int32)
    with torch.no_grad():
        values, handles = record(network)
        network(torch.tensor(prompt[None].tolist()), use_cache=False)
        for handle in handles:
            handle.remove()
        ids, logits = greedy(network, prompt.tolist())
    require_varied(ids, {2})
    golden = {}
    for name, value in values.items():
        array = value.numpy().copy()
        golden[name] = array.astype(np.int32) if name.startswith("router_idx") else array
    require_clear_choice(model, golden, network)
    golden |= {"input_ids": prompt, "greedy_ids": np.array(ids, np.int32), "greedy_logits": logits}
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    return golden, {"generator": f"tools/make_gpt_oss_golden.py, {versions}"}


def generate(model, out):
    from safetensors.numpy import save_file

    place = out / model.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    plain = plain_values(model)
    experts, stored = expert_values(model)
    write_directory(place / "model", model, hf_tensors(model, plain, experts, stored))
    write_gguf(place / "model.gguf", model, plain, experts, stored)
    golden, metadata = make_golden(model, place / "model", plain, experts)
    save_file(golden, place / "golden.safetensors", metadata=metadata)
    print(f"{model.name}: greedy ids {golden['greedy_ids'].tolist()}")


# ------------------------------------------------------------------------------- the check in numpy


def yarn_angles(model, rows):
    """cos and sin [rows, 1, head_dim / 2] with YaRN's factor (Peng et al., 2023)."""
    size, factor = model.head_dim, YARN["factor"]
    pair = np.arange(size // 2)

    def turns(count):
        return size * np.log(model.original_positions / (count * 2 * np.pi)) / (2 * np.log(model.theta))

    low, high = turns(YARN["beta_fast"]), turns(YARN["beta_slow"])
    if model.truncate:
        low, high = np.floor(low), np.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp = np.clip((pair - low) / ((high - low) or 0.001), 0, 1)
    inverse = model.theta ** (-2.0 * pair / size)
    angle = np.arange(rows)[:, None, None] * (inverse / factor * ramp + inverse * (1 - ramp))
    scale = 0.1 * np.log(factor) + 1
    return np.cos(angle) * scale, np.sin(angle) * scale


def rotate(x, angles):
    cos, sin = angles
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attend(model, q, k, v, sinks, window):
    rows, group = len(q), model.heads // model.kv_heads
    angles = yarn_angles(model, rows)
    q = rotate(q.reshape(rows, model.heads, -1), angles)
    k = np.repeat(rotate(k.reshape(rows, model.kv_heads, -1), angles), group, axis=1)
    v = np.repeat(v.reshape(rows, model.kv_heads, -1), group, axis=1)
    scores = np.einsum("thd,uhd->htu", q, k) / np.sqrt(model.head_dim)
    distance = np.arange(rows)[:, None] - np.arange(rows)
    visible = (distance >= 0) & ((distance < window) if window else True)
    scores = np.where(visible, scores, -np.inf)
    sink = np.broadcast_to(sinks[:, None, None], (model.heads, rows, 1))
    most = np.maximum(scores.max(axis=-1, keepdims=True), sink)
    weights = np.exp(scores - most)
    weights /= weights.sum(axis=-1, keepdims=True) + np.exp(sink - most)
    return np.einsum("htu,uhd->thd", weights, v).reshape(rows, -1)


def mix(model, h, weights, at):
    """(output, experts, their weights) of a mixture; gate, up and down are [experts, out, in]."""
    logits = h @ weights[f"{at}.router.weight"].T + weights[f"{at}.router.bias"]
    chosen = np.argsort(-logits, axis=-1, kind="stable")[:, : model.chosen]
    best = np.take_along_axis(logits, chosen, axis=-1)
    share = np.exp(best - best[:, :1])
    share /= share.sum(axis=-1, keepdims=True)
    out = np.zeros_like(h)
    for row, each in enumerate(h):
        for expert, weight in zip(chosen[row], share[row]):
            part = {
                name: weights[f"{at}.experts.{name}"][expert]
                for name in ["gate", "up", "down", "gate_bias", "up_bias", "down_bias"]
            }
            gate = np.minimum(part["gate"] @ each + part["gate_bias"], 7)
            up = np.clip(part["up"] @ each + part["up_bias"], -7, 7)
            inner = (up + 1) * gate / (1 + np.exp(-1.702 * gate))
            out[row] += weight * (part["down"] @ inner + part["down_bias"])
    return out, chosen, share


def forward(model, weights, ids):
    def norm(x, name):
        return weights[f"{name}.weight"] * x / np.sqrt((x * x).mean(-1, keepdims=True) + model.eps)

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    out = {"hidden.0": weights["model.embed_tokens.weight"][ids]}
    for i in range(model.layers):
        at, x = f"model.layers.{i}", out[f"hidden.{i}"]
        h = out[f"norm1.{i}"] = norm(x, f"{at}.input_layernorm")
        q, k, v = (linear(h, f"{at}.self_attn.{name}_proj") for name in "qkv")
        out |= {f"q.{i}": q, f"k.{i}": k, f"v.{i}": v}
        window = model.window if i % 2 == 0 else 0
        y = attend(model, q, k, v, weights[f"{at}.self_attn.sinks"], window)
        out[f"attn_out.{i}"] = linear(y, f"{at}.self_attn.o_proj")
        x = x + out[f"attn_out.{i}"]
        h = out[f"norm2.{i}"] = norm(x, f"{at}.post_attention_layernorm")
        mixed, out[f"router_idx.{i}"], out[f"router_w.{i}"] = mix(model, h, weights, f"{at}.mlp")
        out[f"mlp_out.{i}"] = mixed
        out[f"hidden.{i + 1}"] = x + mixed
    out["final_norm"] = norm(out[f"hidden.{model.layers}"], "model.norm")
    return out | {"logits": out["final_norm"] @ weights["lm_head.weight"].T}


def read_gguf(path, model):
    """float64 weights by Hugging Face name, experts' parts by mlp.experts.{gate, up_bias, ..}."""
    stored = {
        tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        for tensor in gguf.GGUFReader(path).tensors
    }
    names = [t["name"] for t in plain_tensors(model) if ".mlp.experts." not in t["name"]]
    weights = {name: stored[gguf_name(name)] for name in names}
    for layer in range(model.layers):
        for kind, ending in [("weight", ""), ("bias", "_bias")]:
            at = f"model.layers.{layer}.mlp.experts."
            merged = stored.get(f"blk.{layer}.ffn_gate_up_exps.{kind}")
            for i, part in enumerate(["gate", "up", "down"]):
                if merged is not None and part != "down":
                    array = np.split(merged, 2, axis=1)[i]
                else:
                    array = stored[f"blk.{layer}.ffn_{part}_exps.{kind}"]
                weights[at + part + ending] = array
    return weights


def check(model, out):
    """The golden against a forward pass of our own over what the GGUF file holds."""
    from safetensors.numpy import load_file

    golden = load_file(out / model.name / "golden.safetensors")
    weights = read_gguf(out / model.name / "model.gguf", model)
    computed = forward(model, weights, golden["input_ids"].tolist())
    worst = 0.0
    for name in sorted(set(golden) - {"input_ids", "greedy_ids", "greedy_logits"}):
        largest = max(np.abs(computed[name]).max(), 1.0)
        difference = np.abs(golden[name] - computed[name]).max() / largest
        if not difference <= 1e-4:
            raise SystemExit(f"{model.name}: {name} differs by {difference:.2e}")
        worst = max(worst, difference)
    print(f"{model.name}: {len(golden)} tensors, largest relative difference {worst:.1e}")


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
        raise SystemExit(f"no model {sorted(unknown)}; there are {[each.name for each in MODELS]}")
    for model in MODELS:
        if not arguments.names or model.name in arguments.names:
            (check if arguments.check else generate)(model, arguments.out)


if __name__ == "__main__":
    main()
