"""The engines that bench/compare times beside dunlin, one module each.

A module holds `PEER`, an object of base.Peer, which runs in this interpreter, installs the engine and makes a model for it;
one that is a Python library also holds `Session`, which the worker creates in the engine's own virtual environment. A
module therefore imports its engine only within Session. To add a peer: a module, and its name in NAMES.
"""

import importlib

NAMES = ["llama_cpp", "vllm_cpu", "openvino_cpu", "ctranslate", "onnxruntime_cpu", "torch_cpu"]


def load(names):
    """The peers of these names, in order. Raises ValueError, which names the first that there is not."""
    for name in names:
        if name not in NAMES:
            raise ValueError(f"{name} is none of {', '.join(NAMES)}")
    return [importlib.import_module(f"peers.{name}").PEER for name in names]
