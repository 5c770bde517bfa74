"""What make_golden.py does differently for models that fill in masks: their golden values and loops."""

import pathlib

import numpy as np

import diffusion_loops

BLOCK_LENGTH = 8
EPS = 1e-3
ALGORITHMS = ["maskgit_plus", "topk_margin", "entropy"]


def load_network(folder):
    """The weights of a Dream directory in transformers' Qwen2."""
    import json

    import torch
    import transformers
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
    known = transformers.Qwen2Config(**config)
    known._attn_implementation = "eager"
    network = transformers.Qwen2ForCausalLM(known).to(torch.float32)
    weights = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        weights |= {name: value.float() for name, value in load_file(path).items()}
    network.load_state_dict(weights, strict=True)
    return network.eval()


def full_pass(network, ids):
    """Raw logits [N, V] of a pass in which every position sees every other."""
    import torch

    mask = torch.zeros(1, 1, len(ids), len(ids))
    return network(torch.tensor([list(ids)]), attention_mask=mask, use_cache=False).logits[0]


def loops(raw_logits, cached, prompt, model, threshold):
    """Arrays of all loops, as `dunlin verify` names them."""
    masks = {"new_tokens": model.new_tokens, "mask_id": model.mask_id}
    arrays = {}
    if threshold == model.thresholds[0]:
        for algorithm in ALGORITHMS:
            for steps in (model.new_tokens // 4, model.new_tokens // 2, model.new_tokens):
                ids, history, decided = diffusion_loops.schedule(
                    raw_logits, prompt, **masks, algorithm=algorithm, steps=steps, eps=EPS
                )
                stem = f"diff.{algorithm}.s{steps}"
                arrays |= {f"{stem}.ids": ids, f"{stem}.history": history, f"{stem}.ntrans": decided}
    fast_steps = model.new_tokens // 4
    outcomes = {
        "nocache": diffusion_loops.parallel(
            raw_logits, prompt, **masks, steps=fast_steps, threshold=threshold
        )
    }
    for cache in ("prefix", "dual", "refreshed") if cached else ():
        outcomes[cache] = diffusion_loops.blocks(
            cached, prompt, **masks, block_length=BLOCK_LENGTH, threshold=threshold, cache=cache
        )
    for name, (ids, passes) in outcomes.items():
        arrays |= {f"fast.{name}.ids": ids, f"fast.{name}.nfe": [passes]}
    return {name: np.array(value, np.int32) for name, value in arrays.items()}


def metadata(model, threshold):
    return {
        "prompt_tokens": str(model.prompt),
        "max_new_tokens": str(model.new_tokens),
        "mask_token_id": str(model.mask_id),
        "diff_eps": str(EPS),
        "block_length": str(BLOCK_LENGTH),
        "threshold": str(threshold),
        "fast_steps": str(model.new_tokens // 4),
    }


def goldens(model, folder, prompt, record):
    """{file name: (arrays, metadata)}; `record` of make_golden.py installs the hooks."""
    import torch

    network = load_network(folder)
    canvas = list(prompt) + [model.mask_id] * model.new_tokens
    with torch.no_grad():
        values, handles = record(network, None)
        raw = full_pass(network, canvas)
        for handle in handles:
            handle.remove()
        cached = diffusion_loops.CachedNetwork(network)
        torch.testing.assert_close(cached.whole(canvas), raw, rtol=1e-4, atol=1e-4)
        files = {}
        for threshold in model.thresholds:
            arrays = {"input_ids": np.array(canvas, np.int32)}
            if threshold == model.thresholds[0]:
                arrays |= {name: value.numpy().copy() for name, value in values.items()}
            arrays |= loops(lambda ids: full_pass(network, ids), cached, prompt, model, threshold)
            name = "golden" if threshold == model.thresholds[0] else f"golden_threshold_{threshold}"
            files[f"{name}.safetensors"] = arrays, metadata(model, threshold)
    return files


def save(arrays, path, entries):
    """safetensors with its metadata in order: the package writes several entries in any order."""
    import json

    header, blobs, offset = {"__metadata__": dict(sorted(entries.items()))}, [], 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        dtype = {"float32": "F32", "int32": "I32"}[array.dtype.name]
        blobs.append(array.tobytes())
        end = offset + len(blobs[-1])
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))
