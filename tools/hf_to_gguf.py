#!/usr/bin/env python3
"""Writes a Hugging Face directory of a small dense model as GGUF, to test that both containers read alike.

    pip install -r tools/requirements.txt
    python tools/hf_to_gguf.py IN_DIR OUT.gguf --type F32

Matrices take the type (F32 F16 BF16 Q4_0 Q4_1 Q8_0), vectors stay F32. The whole model passes through memory. A
tokenizer.json in IN_DIR is written too, and then --pre must name its pre-tokenizer (llama-bpe, qwen2, smollm).
"""

import argparse
import json
import pathlib

import gguf
import numpy as np

import model_files

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]


def read_safetensors(path):
    """Yields (name, float32 array) in file order. Read by hand because numpy has no bfloat16."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]).astype(np.float32)
        yield name, values.reshape(entry["shape"])


def encode(array, type_name):
    """(array as GGUFWriter takes it, GGML type); vectors stay F32."""
    qtype = gguf.GGMLQuantizationType[type_name if array.ndim > 1 else "F32"]
    model_files.quantized_shape(array.shape, qtype)
    if qtype == gguf.GGMLQuantizationType.F32:
        return array, qtype
    if qtype == gguf.GGMLQuantizationType.F16:
        return array.astype(np.float16), qtype
    return gguf.quants.quantize(array, qtype), qtype


def add_tensors(writer, folder, config, type_name):
    dim = model_files.head_dim(config)
    permuted = config["model_type"] == "llama"
    for path in sorted(folder.glob("*.safetensors")):
        for name, array in read_safetensors(path):
            target = model_files.gguf_name(name)
            if target is None or (target == "output.weight" and config.get("tie_word_embeddings")):
                continue
            if permuted and (".attn_q." in target or ".attn_k." in target):
                array = model_files.permute_rows(array, dim)
            array, qtype = encode(np.ascontiguousarray(array), type_name)
            writer.add_tensor(target, array, raw_dtype=qtype)
    theta, scaling = model_files.rope_settings(config)
    if scaling is not None:
        if not permuted:
            raise ValueError("rope scaling is written for model_type llama only")
        writer.add_tensor("rope_freqs.weight", model_files.rope_divisors(theta, scaling, dim))


def add_tokenizer(writer, folder, config, pre):
    """tokenizer.json of a byte-level BPE, where there is one."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    if pre is None:
        raise SystemExit(f"{path} exists: name its pre-tokenizer with --pre")
    model_files.add_byte_level_bpe(writer, json.loads(path.read_text()), config["vocab_size"], pre)


def add_special_ids(writer, config):
    for key in ["bos", "eos"]:
        ids = config.get(f"{key}_token_id")
        ids = ids if isinstance(ids, list) else [ids]
        if ids[0] is not None:
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", ids[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", required=True, choices=TYPES)
    parser.add_argument("--pre", help="pre-tokenizer of tokenizer.json")
    arguments = parser.parse_args()
    config = json.loads((arguments.folder / "config.json").read_text())
    dense = [each for each in model_files.ARCHITECTURES if each != "gpt_oss"]
    if config["model_type"] not in dense:
        raise SystemExit(f"model_type {config['model_type']} is none of {', '.join(dense)}")
    writer = gguf.GGUFWriter(arguments.out, model_files.gguf_architecture(config))
    model_files.add_header(writer, config, arguments.folder.name)
    add_tokenizer(writer, arguments.folder, config, arguments.pre)
    add_special_ids(writer, config)
    if config["model_type"] == "Dream":
        model_files.add_masked_diffusion(writer, config)
    add_tensors(writer, arguments.folder, config, arguments.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
