#!/usr/bin/env python3
"""Writes the pickled weights of a Hugging Face directory as safetensors, beside them.

    pip install torch safetensors
    tools/pickle_to_safetensors.py FOLDER

Reads pytorch_model.bin, or the shards of pytorch_model.bin.index.json, with torch's weights_only loader, which runs no code
of the file. Writes model.safetensors, or shards with model.safetensors.index.json. Tensors that share their memory are
written once, the embedding rather than the lm_head that is tied to it."""

import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file


def read(path):
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("state_dict", state) if isinstance(state, dict) else state


def without_copies(tensors):
    """Each memory once, contiguous: safetensors has no shared tensors, and models tie their names themselves."""
    kept = {}
    for name in sorted(tensors, key=lambda name: (name.startswith("lm_head"), name)):
        tensor = tensors[name]
        if not isinstance(tensor, torch.Tensor):
            continue
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        kept.setdefault(place, (name, tensor))
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in kept.values()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder

    index = folder / "pytorch_model.bin.index.json"
    single = folder / "pytorch_model.bin"
    if index.exists():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    elif single.exists():
        shards = [single.name]
    else:
        sys.exit(f"error: {folder}: neither {single.name} nor {index.name} is there")

    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = without_copies(read(folder / pathlib.PurePosixPath(shard).name))
        save_file(tensors, folder / (name + ".tmp"), metadata={"format": "pt"})
        (folder / (name + ".tmp")).replace(folder / name)
        weight_map.update(dict.fromkeys(tensors, name))
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        print(f"{shard} -> {name}: {len(tensors)} tensors", file=sys.stderr)
    if len(shards) > 1:
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2, sort_keys=True)
        (folder / "model.safetensors.index.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
