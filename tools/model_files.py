"""What the tools that write models share: tensor names, GGUF header keys, rope permutation and divisors.

Formulas: llama3 rope scaling as in transformers' modeling_rope_utils.py; the row permutation of the GGUF architecture
`llama` is W_gguf[h*D + j] = W_hf[h*D + (j mod 2)*(D/2) + j div 2].
Needs tools/requirements.txt.
"""

import math
import re

import gguf
import numpy as np

# What config.json calls the model of a model_type.
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "Dream": "DreamModel",
}
GLOBAL_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# Of gpt_oss, which has them instead or besides. Gate and up projections are apart, as in GGUF.
MIXTURE_NAMES = {
    "post_attention_layernorm": "post_attention_norm",
    "mlp.router": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
}
SINKS_PATTERN = re.compile(r"model\.layers\.(\d+)\.self_attn\.sinks")
LAYER_PATTERN = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")


def gguf_name(name, model_type="llama"):
    """The GGUF name of a Hugging Face tensor, or None for a tensor that no model reads."""
    if name in GLOBAL_NAMES:
        return GLOBAL_NAMES[name]
    mixture = model_type == "gpt_oss"
    if mixture and (sinks := SINKS_PATTERN.fullmatch(name)):
        return f"blk.{sinks[1]}.attn_sinks.weight"
    names = LAYER_NAMES | (MIXTURE_NAMES if mixture else {})
    match = LAYER_PATTERN.fullmatch(name)
    if match is None or match[2] not in names:
        return None
    return f"blk.{match[1]}.{names[match[2]]}.{match[3]}"


def rope_settings(config):
    """(theta, scaling dict or None) of a config.json of transformers 4 (rope_scaling) or 5 (rope_parameters)."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling")
    theta = config.get("rope_theta") or (scaling or {}).get("rope_theta") or 10000.0
    kind = (scaling or {}).get("rope_type") or (scaling or {}).get("type") or "default"
    if kind in ("default", "yarn"):  # YaRN is keys of the header
        return theta, None
    if kind != "llama3":
        raise ValueError(f"rope scaling {kind} has no GGUF form here")
    return theta, scaling


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rope_divisors(theta, scaling, dim):
    """rope_freqs.weight of llama3 scaling, float32 [dim / 2]: inverse frequency i is divided by element i."""
    inverse = 1.0 / theta ** (np.arange(0, dim, 2, dtype=np.float64) / dim)
    factor = scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling["original_max_position_embeddings"]
    wavelength = 2 * math.pi / inverse
    smooth = (original / wavelength - low) / (high - low)
    between = 1.0 / ((1.0 - smooth) / factor + smooth)
    divisors = np.where(wavelength < original / high, 1.0, between)
    return np.where(wavelength > original / low, factor, divisors).astype(np.float32)


def permute_rows(array, dim):
    """Half-split rope order to interleaved: rows of every head of `dim` rows (elements, for a bias)."""
    heads = array.shape[0] // dim
    return array.reshape(heads, 2, dim // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def gguf_architecture(config):
    """general.architecture for a model_type."""
    return config["model_type"].lower().replace("_", "-")


def add_header(writer, config, name):
    """The keys of general.* and of the architecture, from a config.json dictionary."""
    arch = gguf_architecture(config)
    theta, _ = rope_settings(config)
    dim = head_dim(config)
    writer.add_string("general.name", name)
    for key, value in {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config.get("num_key_value_heads") or config["num_attention_heads"],
        "vocab_size": config["vocab_size"],
        "rope.dimension_count": dim,
    }.items():
        writer.add_uint32(f"{arch}.{key}", value)
    if config.get("head_dim"):
        writer.add_uint32(f"{arch}.attention.key_length", dim)
        writer.add_uint32(f"{arch}.attention.value_length", dim)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", config.get("rms_norm_eps", 1e-6))
    writer.add_float32(f"{arch}.rope.freq_base", theta)
    add_yarn(writer, arch, config)
    if "num_local_experts" in config:
        writer.add_uint32(f"{arch}.expert_feed_forward_length", config["intermediate_size"])
        writer.add_uint32(f"{arch}.expert_count", config["num_local_experts"])
        writer.add_uint32(f"{arch}.expert_used_count", config["num_experts_per_tok"])
        writer.add_uint32(f"{arch}.attention.sliding_window", config["sliding_window"])


def add_masked_diffusion(writer, config):
    """The keys that llama.cpp's converter of DreamModel writes."""
    writer.add_bool("dream.attention.causal", False)
    writer.add_bool("diffusion.shift_logits", True)
    writer.add_uint32("tokenizer.ggml.mask_token_id", config["mask_token_id"])
    writer.add_uint32("tokenizer.ggml.padding_token_id", config["pad_token_id"])


def add_byte_level_bpe(writer, tokenizer, vocabulary_size, pre):
    """Writes the dictionary of a tokenizer.json of byte-level BPE, whose pre-tokenizer GGUF files call `pre`. Ids without a
    token become unused entries."""
    normal = [(index, token, gguf.TokenType.NORMAL) for token, index in tokenizer["model"]["vocab"].items()]
    added = [(each["id"], each["content"], gguf.TokenType.CONTROL if each["special"] else gguf.TokenType.USER_DEFINED)
             for each in tokenizer.get("added_tokens", [])]
    highest = max(index for index, _, _ in normal + added)
    if highest >= vocabulary_size:
        raise ValueError(f"the tokenizer has ids up to {highest}, but the vocabulary {vocabulary_size} rows")
    tokens = [f"[PAD{i}]" for i in range(vocabulary_size)]
    types = [int(gguf.TokenType.UNUSED)] * vocabulary_size
    for index, token, kind in normal + added:
        tokens[index], types[index] = token, int(kind)
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_string("tokenizer.ggml.pre", pre)
    writer.add_array("tokenizer.ggml.tokens", tokens)
    writer.add_array("tokenizer.ggml.token_type", types)
    writer.add_array("tokenizer.ggml.merges", merges)


def add_yarn(writer, arch, config):
    """Files of gpt-oss mean a range that is not cut to whole pairs; a key of our own says that it is."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if scaling.get("rope_type") != "yarn":
        return
    writer.add_string(f"{arch}.rope.scaling.type", "yarn")
    writer.add_float32(f"{arch}.rope.scaling.factor", scaling["factor"])
    original = scaling["original_max_position_embeddings"]
    writer.add_uint32(f"{arch}.rope.scaling.original_context_length", original)
    if scaling.get("truncate", True) != (arch != "gpt-oss"):
        writer.add_bool(f"{arch}.rope.scaling.yarn_truncate", scaling.get("truncate", True))


def quantized_shape(shape, qtype):
    """Bytes of a tensor of `shape` in `qtype`, as a uint8 shape; rows must be whole blocks."""
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    if shape[-1] % block != 0:
        raise ValueError(f"rows of {shape[-1]} elements are not whole blocks of {block} ({qtype.name})")
    return (*shape[:-1], shape[-1] // block * size)
