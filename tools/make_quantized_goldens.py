#!/usr/bin/env python3
"""Writes tiny models of 8-bit weights, as DeepSeek, vLLM and llm-compressor publish them, with transformers' logits.

    pip install torch transformers safetensors
    python tools/make_quantized_goldens.py --out tests/data/quantized

One folder per model: model/ (a Hugging Face directory) and golden.safetensors (input_ids, logits, and greedy_ids with
greedy_logits), computed in float32 by transformers from the weights that torch dequantises: value = scale * element.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

PROMPT = 20
GREEDY = 4
GROUPS = {"targets": ["Linear"], "input_activations": None, "output_activations": None}
E4M3 = torch.float8_e4m3fn


def compressed_tensors(kind, strategy, **more):
    weights = {"num_bits": 8, "type": kind, "strategy": strategy, "symmetric": True, "dynamic": False,
               "group_size": None, "actorder": None}
    return {"quant_method": "compressed-tensors", "format": f"{kind}-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": {**GROUPS, "weights": weights}}, "kv_cache_scheme": None,
            "ignore": ["lm_head"], "sparsity_config": {}, **more}


# name: (elements, block of rows and columns that share a scale, type of the scales, their shape, suffix, config)
MODELS = {
    "fp8_block": (E4M3, (128, 128), torch.float32, None, "weight_scale_inv",
                  {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                   "weight_block_size": [128, 128], "modules_to_not_convert": ["lm_head"]}),
    "fp8_channel": (E4M3, (1, None), torch.bfloat16, None, "weight_scale", compressed_tensors("float", "channel")),
    "fp8_tensor": (E4M3, (None, None), torch.float32, (), "weight_scale", compressed_tensors("float", "tensor")),
    "fp8_e5m2": (torch.float8_e5m2, (1, None), torch.float32, None, "weight_scale",
                 {"quant_method": "fp8", "fmt": "e5m2", "activation_scheme": "static"}),
    "int8_channel": (torch.int8, (1, None), torch.float32, None, "weight_scale", compressed_tensors("int", "channel")),
}


def quantise(weight, elements, block, scale_type):
    """Elements, and the scales of blocks [ceil(rows / block), ceil(columns / block)]."""
    rows, columns = (block[i] or weight.shape[i] for i in range(2))
    grid = torch.zeros(-(-weight.shape[0] // rows), -(-weight.shape[1] // columns))
    coded = torch.zeros(weight.shape, dtype=elements)
    largest = 127 if elements == torch.int8 else torch.finfo(elements).max
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            part = (slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
            scale = (weight[part].abs().max() / largest).to(scale_type)
            grid[i, j] = scale.float()
            scaled = (weight[part] / scale.float()).clamp(-largest, largest)
            coded[part] = scaled.round().to(elements) if elements == torch.int8 else scaled.to(elements)
    return coded, grid


def dequantise(coded, grid, block):
    rows, columns = (block[i] or coded.shape[i] for i in range(2))
    scales = grid.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[: coded.shape[0], : coded.shape[1]]
    return coded.float() * scales


def make(name, folder):
    elements, block, scale_type, scale_shape, suffix, quantization = MODELS[name]
    torch.manual_seed(7)
    wide = name == "fp8_block"  # rows and columns that end within a block
    config = LlamaConfig(hidden_size=160 if wide else 64, intermediate_size=288 if wide else 96, num_hidden_layers=1,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=96,
                         max_position_embeddings=128, tie_word_embeddings=False, initializer_range=0.2,
                         bos_token_id=1, eos_token_id=2, torch_dtype="bfloat16", architectures=["LlamaForCausalLM"])
    model = LlamaForCausalLM(config).float().eval()
    tensors = {}
    for key, value in model.state_dict().items():
        value.copy_(value.to(torch.bfloat16).float())
        if "layers" not in key or value.dim() != 2:
            tensors[key] = value.to(torch.bfloat16).contiguous()
            continue
        coded, grid = quantise(value, elements, block, scale_type)
        value.copy_(dequantise(coded, grid, block))
        tensors[key] = coded.contiguous()
        grid = grid.reshape(scale_shape) if scale_shape is not None else grid
        tensors[key.removesuffix("weight") + suffix] = grid.to(scale_type).contiguous()
        if name == "fp8_tensor":  # of static activations; not used by weights
            tensors[key.removesuffix("weight") + "input_scale"] = torch.tensor(0.5)
    ids = torch.randint(3, 96, (1, PROMPT))
    golden = {"input_ids": ids[0].to(torch.int32)}
    greedy = []
    with torch.no_grad():
        golden["logits"] = model(ids).logits[0].clone()
        for step in range(GREEDY):
            greedy.append(model(ids).logits[0, -1].clone())
            ids = torch.cat([ids, greedy[-1].argmax().view(1, 1)], 1)
    golden["greedy_ids"] = ids[0, PROMPT:].to(torch.int32).clone()
    golden["greedy_logits"] = torch.stack(greedy)
    (folder / "model").mkdir(parents=True, exist_ok=True)
    text = json.loads(config.to_json_string(use_diff=False))
    kept = ["architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings",
            "rms_norm_eps", "hidden_act", "tie_word_embeddings", "bos_token_id", "eos_token_id"]
    written = {key: text[key] for key in kept}
    written.update(torch_dtype="bfloat16", rope_theta=10000.0, quantization_config=quantization)
    (folder / "model/config.json").write_text(json.dumps(written, indent=2) + "\n")
    save_file(tensors, folder / "model/model.safetensors", metadata={"format": "pt"})
    save_file(golden, folder / "golden.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all when none is named: {', '.join(MODELS)}")
    arguments = parser.parse_args()
    for name in arguments.names or MODELS:
        make(name, arguments.out / name)


if __name__ == "__main__":
    main()
