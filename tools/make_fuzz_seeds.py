#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets that read text: tests/fuzz/corpus/{tokenizer_json,tokenizer_encode,chat_template,harmony}; and
mixtures of experts for those that read weights: tests/fuzz/corpus/{safetensors,gguf}.

    python tools/make_fuzz_seeds.py tests

The texts are cut from the golden data of tests/tokenizer, tests/jinja and tests/harmony. All are small, so that the fuzzer gets through
many of them:

    tokenizer_json     each family's tokenizer.json with a vocabulary of letters, and one with patterns of its own; one as
                       vocab.json, merges.txt and tokenizer_config.json, with a zero byte between them
    tokenizer_encode   two bytes that say where the text is cut, then texts of the corpus, a dozen in each
    chat_template      a template, a zero byte, and the conversation that it renders; constructs of Jinja, forty in each, and
                       some that are errors
    harmony            a conversation with tools, or a stream of tokens, one a byte (tests/fuzz/harmony_fuzz.cpp)
    safetensors        a layer of GPT-OSS in the shapes of safetensors_fuzz.cpp: experts in MXFP4, unquantised, and under the names of
                       original/
    gguf               the same, gate and up apart and in one tensor
"""

import argparse
import json
import math
import pathlib
import struct

LETTERS = "abcdeghilnorstuwĠĊ0123.'"
MERGES = [("a", "n"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("e", "r"), ("Ġ", "a")]
CORPUS_FILES = 12
SCHEMAS_IN_A_FILE = 30
STREAMS_KEPT = 20
CONSTRUCTS_IN_A_FILE = 40
ERRORS_KEPT = 16


def read(path):
    return json.loads(path.read_text())


def write(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    data = data if isinstance(data, bytes) else data.encode()
    (folder / name.replace(" ", "_")).write_bytes(data)
    return len(data)


def dump(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def with_small_vocabulary(document):
    """The same tokenizer with letters only, and with its added tokens behind them."""
    tokens = [*LETTERS, *("".join(pair) for pair in MERGES)]
    pairs = document["model"]["merges"]
    merges = [" ".join(pair) if pairs and isinstance(pairs[0], str) else list(pair) for pair in MERGES]
    model = {**document["model"], "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges}
    added = [{**token, "id": len(tokens) + i} for i, token in enumerate(document["added_tokens"])]
    return {**document, "model": model, "added_tokens": added}


def three_files(document):
    """The same tokenizer as the files of one that is written in Python."""
    decoder = {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in document["added_tokens"]}
    names = [token["content"] for token in document["added_tokens"] if token["special"]]
    config = {"tokenizer_class": "DreamTokenizer", "added_tokens_decoder": decoder, "bos_token": names[0], "eos_token": names[-1],
              "unk_token": None, "add_bos_token": False}
    merges = "#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in MERGES)
    return "\0".join([dump(document["model"]["vocab"]), merges, dump(config)])


def tokenizer_json_seeds(data):
    for path in sorted(data.glob("small_*/tokenizer.json")):
        yield path.parent.name.removeprefix("small_"), dump(with_small_vocabulary(read(path)))
    base = with_small_vocabulary(read(data / "small_gpt2" / "tokenizer.json"))
    kept = ["deepseek_coder", "falcon", "cl100k_possessive", "sets", "string_mergedwithnext", "prefix_space"]
    for case in read(data / "pre_tokenizers.json"):
        if case["name"] in kept:
            yield case["name"], dump({**base, "pre_tokenizer": case["pre_tokenizer"]})
    yield "three_files", three_files(with_small_vocabulary(read(data / "small_qwen2" / "tokenizer.json")))


def as_bytes(text):
    return text.encode() if isinstance(text, str) else bytes.fromhex(text["hex"])


def tokenizer_encode_seeds(data):
    texts = [as_bytes(text) for text in read(data / "corpus.json")]
    texts += [b"<|a|>", b"<|a|><", b"a<|a|>b<|a|><|a|><", b"<|a|", b"<|a|><|a"]
    for i in range(CORPUS_FILES):
        text = b"\n".join(texts[i::CORPUS_FILES])
        cut = len(text) * i // CORPUS_FILES
        yield f"corpus_{i}", cut.to_bytes(2, "little") + text


def chat_template_seeds(data):
    talk = read(data / "conversations.json")
    messages = talk["conversations"]["several turns"] + talk["conversations"]["tool calls"]
    inputs = dump({"messages": messages, "tools": talk["tools"], "variables": {}})
    for case in read(data / "chat.json"):
        yield case["name"], case["template"] + "\0" + inputs
    constructs = read(data / "constructs.json")
    good = [case["template"] for case in constructs if "expected" in case and not case["variables"]]
    for i in range(0, len(good), CONSTRUCTS_IN_A_FILE):
        yield f"constructs_{i // CONSTRUCTS_IN_A_FILE}", "\n".join(good[i : i + CONSTRUCTS_IN_A_FILE])
    variables = {}
    for case in constructs:
        variables |= case["variables"]
    with_variables = [case["template"] for case in constructs if "expected" in case and case["variables"]]
    yield "variables", "\n".join(with_variables) + "\0" + dump({"messages": [], "tools": None, "variables": variables})
    errors = [case["template"] for case in constructs if "error" in case]
    for i, template in enumerate(errors[:: max(1, len(errors) // ERRORS_KEPT)]):
        yield f"error_{i}", template


# Of tests/support/harmony_tokenizer.cpp, in its order: byte 128 is the first.
HARMONY_TOKENS = ["assistant", "analysis", "commentary", "final", "user", "system", "developer", " hmm", "Hi", "json", "{}", " you", " there",
                  " to=functions.f", "«endoftext»", "«return»", "«constrain»", "«channel»", "«start»", "«end»", "«message»", "«call»",
                  "«reserved_200013»"]


def harmony_seeds(folder):
    chats = [{"messages": [{"role": "system", "content": "Be <|end|> brief."}, {"role": "user", "name": "bob", "content": [{"type": "text", "text": "Hi"}]},
                           {"role": "assistant", "reasoning": "hm", "content": "I look.", "tool_calls": [
                               {"id": "1", "function": {"name": "f", "arguments": {"a": [1, None]}}}, {"function": {"name": "g", "arguments": "{}"}}]},
                           {"role": "tool", "tool_call_id": "1", "content": "7"}, {"role": "assistant", "content": "Seven."}], "tools": None}]
    schemas = [case["schema"] for case in json.loads((folder / "schemas.json").read_text())]
    for begin in range(0, len(schemas), SCHEMAS_IN_A_FILE):
        tools = [{"type": "function", "function": {"name": f"f{i}", "description": "two\nlines", "parameters": schema}}
                 for i, schema in enumerate(schemas[begin : begin + SCHEMAS_IN_A_FILE])]
        chats.append({"messages": [{"role": "user", "content": "Hi"}], "tools": tools})
    for i, chat in enumerate(chats):
        yield f"chat_{i}", dump(chat)
    streams = [case["text"] for case in json.loads((folder / "streams.json").read_text())]
    for i, text in enumerate(streams[:: len(streams) // STREAMS_KEPT]):
        data = text.encode("ascii", "replace")
        for k, token in enumerate(HARMONY_TOKENS):
            data = data.replace(token.replace("«", "?").replace("»", "?").encode(), bytes([128 + k]))
        yield f"stream_{i}", data


# ---- a layer of GPT-OSS: width 32, 2 experts of width 32, one head of 2, 2 tokens

LAYER = "model.layers.0."
ELEMENT_BYTES = {"U8": 1, "BF16": 2, "F32": 4}
COMMON = {"model.embed_tokens.weight": [2, 32], "model.norm.weight": [32], "lm_head.weight": [2, 32],
          f"{LAYER}input_layernorm.weight": [32], f"{LAYER}post_attention_layernorm.weight": [32],
          **{f"{LAYER}self_attn.{name}_proj.weight": [2, 32] for name in "qkv"}, **{f"{LAYER}self_attn.{name}_proj.bias": [2] for name in "qkv"},
          f"{LAYER}self_attn.o_proj.weight": [32, 2], f"{LAYER}self_attn.o_proj.bias": [32], f"{LAYER}self_attn.sinks": [1],
          f"{LAYER}mlp.router.weight": [2, 32], f"{LAYER}mlp.router.bias": [2]}
EXPERTS = f"{LAYER}mlp.experts."
BIASES = {f"{EXPERTS}gate_up_proj_bias": [2, 64], f"{EXPERTS}down_proj_bias": [2, 32]}
PAIRS = {f"{EXPERTS}gate_up_proj_blocks": [2, 64, 1, 16], f"{EXPERTS}gate_up_proj_scales": [2, 64, 1],
         f"{EXPERTS}down_proj_blocks": [2, 32, 1, 16], f"{EXPERTS}down_proj_scales": [2, 32, 1]}
PLAIN = {f"{EXPERTS}gate_up_proj": [2, 32, 64], f"{EXPERTS}down_proj": [2, 32, 32]}
ORIGINAL = {"embedding.weight": [2, 32], "norm.scale": [32], "unembedding.weight": [2, 32], "block.0.attn.norm.scale": [32],
            "block.0.attn.qkv.weight": [6, 32], "block.0.attn.qkv.bias": [6], "block.0.attn.sinks": [1], "block.0.attn.out.weight": [32, 2],
            "block.0.attn.out.bias": [32], "block.0.mlp.norm.scale": [32], "block.0.mlp.gate.weight": [2, 32], "block.0.mlp.gate.bias": [2],
            "block.0.mlp.mlp1_bias": [2, 64], "block.0.mlp.mlp2_bias": [2, 32]}
ORIGINAL_PAIRS = {"block.0.mlp.mlp1_weight.blocks": [2, 64, 1, 16], "block.0.mlp.mlp1_weight.scales": [2, 64, 1],
                  "block.0.mlp.mlp2_weight.blocks": [2, 32, 1, 16], "block.0.mlp.mlp2_weight.scales": [2, 32, 1]}


def pattern(count):
    return bytes(i * 37 % 251 for i in range(count))


def safetensors_file(tensors):
    """`tensors`: (dtype, shape) by name."""
    header, data = {}, b""
    for name, (dtype, shape) in sorted(tensors.items()):
        part = pattern(math.prod(shape) * ELEMENT_BYTES[dtype])
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = dump(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def mixture_seeds():
    def typed(dtype, *groups):
        return {name: (dtype, shape) for group in groups for name, shape in group.items()}

    yield "mixture_mxfp4", safetensors_file(typed("BF16", COMMON, BIASES) | typed("U8", PAIRS))
    yield "mixture_plain", safetensors_file(typed("BF16", COMMON, BIASES, PLAIN))
    yield "mixture_original", safetensors_file(typed("BF16", ORIGINAL) | typed("U8", ORIGINAL_PAIRS))


def gguf_text(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_file(keys, tensors):
    """`tensors`: (extents, innermost first; whether in MXFP4) by name; the others are F32."""
    header, data = b"", b""
    for key, value in keys.items():
        header += gguf_text(key)
        if isinstance(value, str):
            header += struct.pack("<I", 8) + gguf_text(value)
        else:
            header += struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)
    for name, (extents, mxfp4) in tensors.items():
        header += gguf_text(name) + struct.pack(f"<I{len(extents)}Q", len(extents), *extents)
        header += struct.pack("<IQ", 39 if mxfp4 else 0, len(data))
        data += pattern(math.prod(extents) * 17 // 32 if mxfp4 else math.prod(extents) * 4)
        data += bytes(-len(data) % 32)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + header
    return header + bytes(-len(header) % 32) + data


def gguf_mixture_seeds():
    sizes = {"block_count": 1, "context_length": 128, "embedding_length": 32, "feed_forward_length": 32, "expert_feed_forward_length": 32,
             "expert_count": 2, "expert_used_count": 1, "attention.head_count": 1, "attention.head_count_kv": 1, "attention.key_length": 2,
             "attention.sliding_window": 4, "attention.layer_norm_rms_epsilon": 1e-5, "rope.scaling.type": "yarn",
             "rope.scaling.factor": 32.0, "rope.scaling.original_context_length": 64}
    keys = {"general.architecture": "gpt-oss"} | {f"gpt-oss.{key}": value for key, value in sizes.items()}
    common = {"token_embd.weight": [32, 2], "output_norm.weight": [32], "output.weight": [32, 2], "blk.0.attn_norm.weight": [32],
              "blk.0.post_attention_norm.weight": [32], **{f"blk.0.attn_{name}.weight": [32, 2] for name in "qkv"},
              **{f"blk.0.attn_{name}.bias": [2] for name in "qkv"}, "blk.0.attn_output.weight": [2, 32], "blk.0.attn_output.bias": [32],
              "blk.0.attn_sinks.weight": [1], "blk.0.ffn_gate_inp.weight": [32, 2], "blk.0.ffn_gate_inp.bias": [2],
              "blk.0.ffn_down_exps.bias": [32, 2]}
    down = {"blk.0.ffn_down_exps.weight": ([32, 32, 2], True)}
    plain = {name: (extents, False) for name, extents in common.items()}
    apart = {f"blk.0.ffn_{part}_exps.weight": ([32, 32, 2], True) for part in ["gate", "up"]}
    apart |= {f"blk.0.ffn_{part}_exps.bias": ([32, 2], False) for part in ["gate", "up"]}
    merged = {"blk.0.ffn_gate_up_exps.weight": ([32, 64, 2], True), "blk.0.ffn_gate_up_exps.bias": ([64, 2], False)}
    yield "gpt_oss", gguf_file(keys, plain | down | apart)
    yield "gpt_oss_merged", gguf_file(keys, plain | down | merged)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", type=pathlib.Path)
    tests = parser.parse_args().tests
    corpus = tests / "fuzz" / "corpus"
    for target, seeds in [("tokenizer_json", tokenizer_json_seeds(tests / "tokenizer" / "data")),
                          ("tokenizer_encode", tokenizer_encode_seeds(tests / "tokenizer" / "data")),
                          ("chat_template", chat_template_seeds(tests / "jinja" / "data")),
                          ("harmony", harmony_seeds(tests / "harmony" / "data")),
                          ("safetensors", mixture_seeds()), ("gguf", gguf_mixture_seeds())]:
        sizes = [write(corpus / target, name, data) for name, data in seeds]
        print(f"{target}: {len(sizes)} seeds, {sum(sizes)} bytes, the largest {max(sizes)}")


if __name__ == "__main__":
    main()
