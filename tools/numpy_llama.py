"""An independent forward pass of llama, qwen2 and Dream models in numpy float64, from either container.

RMSNorm, rotary embedding and SwiGLU as in "LLaMA: Open and Efficient Foundation Language Models"
(2023), grouped-query attention as in "GQA" (2023), llama3 rope scaling as in Llama 3.1. Needs
tools/requirements.txt.
"""

import gguf
import numpy as np

import model_files
from hf_to_gguf import read_safetensors


class Hyper:
    """What the forward pass needs to know, from a config.json or from the fields of a GGUF file."""


def hyper_from_config(config):
    hyper = Hyper()
    hyper.layers, hyper.heads = config["num_hidden_layers"], config["num_attention_heads"]
    hyper.kv_heads, hyper.eps = (
        config.get("num_key_value_heads", hyper.heads),
        config.get("rms_norm_eps", 1e-6),
    )
    hyper.interleaved, hyper.causal = False, config["model_type"] != "Dream"
    rope = config.get("rope_parameters") or {
        "rope_theta": config.get("rope_theta", 1e4),
        **(config.get("rope_scaling") or {}),
    }
    size = config.get("head_dim") or config["hidden_size"] // hyper.heads
    inverse = rope["rope_theta"] ** -(np.arange(0, size, 2) / size)
    if rope.get("rope_type", "default") == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = rope["original_max_position_embeddings"] * inverse / (2 * np.pi)
        blend = np.clip(
            (turns - low) / (high - low), 0.0, 1.0
        )  # 1 keeps the frequency, 0 divides it
        inverse = inverse * (blend + (1 - blend) / rope["factor"])
    hyper.inverse = inverse
    return hyper


def hyper_from_gguf(reader):
    def field(name):
        return reader.fields[f"{arch}.{name}"].contents()

    arch = reader.fields["general.architecture"].contents()
    hyper = Hyper()
    hyper.layers, hyper.heads = field("block_count"), field("attention.head_count")
    hyper.kv_heads, hyper.eps = (
        field("attention.head_count_kv"),
        field("attention.layer_norm_rms_epsilon"),
    )
    hyper.interleaved, hyper.causal = arch == "llama", arch != "dream"
    size = field("rope.dimension_count")
    divisors = [tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"] or [
        1.0
    ]
    hyper.inverse = field("rope.freq_base") ** -(np.arange(0, size, 2) / size) / divisors[0]
    return hyper


def rotate(x, hyper):
    """x [S, heads, D]: pairs (2i, 2i + 1) when interleaved, (i, i + D / 2) otherwise."""
    angle = np.arange(len(x))[:, None, None] * hyper.inverse
    if hyper.interleaved:
        x = x.reshape(*x.shape[:2], -1, 2)
        first, second = x[..., 0], x[..., 1]
    else:
        first, second = np.split(x, 2, axis=-1)
    pair = (
        first * np.cos(angle) - second * np.sin(angle),
        second * np.cos(angle) + first * np.sin(angle),
    )
    return (
        np.stack(pair, axis=-1).reshape(*x.shape[:2], -1)
        if hyper.interleaved
        else np.concatenate(pair, axis=-1)
    )


def attend(q, k, v, hyper):
    """Attention, causal or full; q [S, heads D], k and v [S, kv heads D]."""
    rows = len(q)
    group = hyper.heads // hyper.kv_heads
    q, k = (
        rotate(x.reshape(rows, n, -1), hyper) for x, n in [(q, hyper.heads), (k, hyper.kv_heads)]
    )
    k, v = (
        np.repeat(k, group, axis=1),
        np.repeat(v.reshape(rows, hyper.kv_heads, -1), group, axis=1),
    )
    scores = np.einsum("thd,uhd->htu", q, k) / np.sqrt(q.shape[-1])
    if hyper.causal:
        scores = np.where(np.tril(np.ones((rows, rows), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("htu,uhd->thd", weights / weights.sum(axis=-1, keepdims=True), v).reshape(
        rows, -1
    )


def forward(weights, hyper, ids):
    """Every golden value of one pass; `weights` by Hugging Face name."""

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def norm(x, name):
        return (
            weights[f"{name}.weight"]
            * x
            / np.sqrt((x * x).mean(axis=-1, keepdims=True) + hyper.eps)
        )

    out = {"hidden.0": weights["model.embed_tokens.weight"][ids]}
    for i in range(hyper.layers):
        at, x = f"model.layers.{i}", out[f"hidden.{i}"]
        h = out[f"norm1.{i}"] = norm(x, f"{at}.input_layernorm")
        q, k, v = (linear(h, f"{at}.self_attn.{name}_proj") for name in "qkv")
        out |= {f"q.{i}": q, f"k.{i}": k, f"v.{i}": v}
        attention = out[f"attn_out.{i}"] = linear(attend(q, k, v, hyper), f"{at}.self_attn.o_proj")
        h = out[f"norm2.{i}"] = norm(x + attention, f"{at}.post_attention_layernorm")
        gate, up = (linear(h, f"{at}.mlp.{name}_proj") for name in ["gate", "up"])
        out |= {f"gate.{i}": gate, f"up.{i}": up}
        mlp = out[f"mlp_out.{i}"] = linear(gate / (1 + np.exp(-gate)) * up, f"{at}.mlp.down_proj")
        out[f"hidden.{i + 1}"] = x + attention + mlp
    out["final_norm"] = norm(out[f"hidden.{hyper.layers}"], "model.norm")
    output = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return out | {"logits": out["final_norm"] @ output.T}


def directory_weights(folder):
    parts = [read_safetensors(path) for path in sorted(folder.glob("*.safetensors"))]
    return {name: value.astype(np.float64) for part in parts for name, value in part}


def gguf_weights(reader):
    """By Hugging Face name; rows of q and k stay interleaved."""
    stored = {
        tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        for tensor in reader.tensors
    }
    names = set(model_files.GLOBAL_NAMES)
    for layer in range(hyper_from_gguf(reader).layers):
        names |= {
            f"model.layers.{layer}.{module}.{kind}"
            for module in model_files.LAYER_NAMES
            for kind in ["weight", "bias"]
        }
    return {
        name: stored[model_files.gguf_name(name)]
        for name in names
        if model_files.gguf_name(name) in stored
    }
