#!/usr/bin/env python3
"""Writes the greedy continuations that llama.cpp computes for SmolLM2, as golden data.

    pip install llama-cpp-python jinja2 numpy
    cd tests/smollm2/data
    make_llama_cpp_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf llama_cpp_greedy.json
    llama-quantize --allow-requantize SmolLM2-135M-Instruct.{Q4_1,F32}.gguf F32
    make_llama_cpp_goldens.py SmolLM2-135M-Instruct.F32.gguf llama_cpp_greedy_f32.json

For every prompt: its messages or text, the prompt's ids, 32 greedy ids (the end-of-turn token is a
token like any other: nothing stops the continuation), and for each of these the gap between the two
best logits it was chosen by. The chat prompts go through the template in the file, rendered by
Python's Jinja2. llama.cpp runs on its CPU back end with an F32 KV cache and without flash
attention, one token per call after the prompt. The F32 file holds the same weights dequantised, so
that no activation is rounded; llama-quantize is part of llama.cpp.
"""

import argparse
import ctypes
import json
import pathlib

import jinja2.sandbox
import llama_cpp
import numpy as np

TOKENS = 32
CHAT = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": "Write a haiku about the sea."}],
    [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ],
    [
        {"role": "user", "content": "Name three fruits."},
        {"role": "assistant", "content": "Apple, banana and cherry."},
        {"role": "user", "content": "And three vegetables?"},
    ],
    [{"role": "user", "content": "Schreibe die Zahlen von 1 bis 10 in JSON: [1, 2, ..."}],
]
PLAIN = [
    "Once upon a time, in a small village by the sea,",
    "The three primary colours are",
    "def fibonacci(n):\n    ",
    "1, 2, 3, 4, 5, 6, 7,",
    "In 1969, Neil Armstrong became the first human to",
]


def metadata(model, key):
    """The value of a string key, which may be longer than any fixed buffer."""
    size = llama_cpp.llama_model_meta_val_str(model, key, None, 0)
    if size < 0:
        raise SystemExit(f"the model has no {key.decode()}")
    buffer = ctypes.create_string_buffer(size + 1)
    llama_cpp.llama_model_meta_val_str(model, key, buffer, size + 1)
    return buffer.value.decode()


def render(template, messages):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True)


def tokenize(vocab, text):
    data = text.encode()
    ids = (llama_cpp.llama_token * (len(data) + 8))()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), True, True)
    if count < 0:
        raise SystemExit(f"llama_tokenize failed for {text!r}")
    return list(ids[:count])


def decode(context, ids):
    """Runs `ids` after what the context holds; the logits of the last one."""
    array = (llama_cpp.llama_token * len(ids))(*ids)
    if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(ids))) != 0:
        raise SystemExit("llama_decode failed")
    size = llama_cpp.llama_vocab_n_tokens(
        llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(context))
    )
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), shape=(size,)).copy()


def continue_greedily(context, prompt):
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    logits = decode(context, prompt)
    ids, gaps = [], []
    while True:
        second, best = np.sort(logits)[-2:]
        ids.append(int(np.argmax(logits)))
        gaps.append(round(float(best - second), 5))
        if len(ids) == TOKENS:
            return ids, gaps
        logits = decode(context, ids[-1:])


def open_model(path):
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(
        str(path).encode(), llama_cpp.llama_model_default_params()
    )
    if not model:
        raise SystemExit(f"llama.cpp cannot load {path}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 512
    params.n_batch = params.n_ubatch = 512
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.n_threads = params.n_threads_batch = 1  # the model is small
    return model, llama_cpp.llama_init_from_model(model, params)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    model, context = open_model(options.model)
    vocab = llama_cpp.llama_model_get_vocab(model)
    template = metadata(model, b"tokenizer.chat_template")
    prompts = [({"messages": m}, render(template, m)) for m in CHAT]
    prompts += [({"text": text}, text) for text in PLAIN]
    cases = []
    for source, text in prompts:
        prompt = tokenize(vocab, text)
        ids, gaps = continue_greedily(context, prompt)
        cases.append({**source, "prompt_ids": prompt, "greedy_ids": ids, "gaps": gaps})
    golden = {
        "model": options.model.name,
        "llama_cpp_python": llama_cpp.__version__,
        "cases": cases,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in golden.pop("cases"))
    head = json.dumps(golden)[:-1]
    options.output.write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
