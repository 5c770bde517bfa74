#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets that read text: tests/fuzz/corpus/{tokenizer_json,tokenizer_encode,chat_template,harmony}.

    python tools/make_fuzz_seeds.py tests

They are cut from the golden data of tests/tokenizer, tests/jinja and tests/harmony, small, so that the fuzzer gets through many of them:

    tokenizer_json     each family's tokenizer.json with a vocabulary of letters, and one with patterns of its own
    tokenizer_encode   two bytes that say where the text is cut, then texts of the corpus, a dozen in each
    chat_template      a template, a zero byte, and the conversation that it renders; constructs of Jinja, forty in each, and
                       some that are errors
    harmony            a conversation with tools, or a stream of tokens, one a byte (tests/fuzz/harmony_fuzz.cpp)
"""

import argparse
import json
import pathlib

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


def tokenizer_json_seeds(data):
    for path in sorted(data.glob("small_*/tokenizer.json")):
        yield path.parent.name.removeprefix("small_"), dump(with_small_vocabulary(read(path)))
    base = with_small_vocabulary(read(data / "small_gpt2" / "tokenizer.json"))
    kept = ["deepseek_coder", "falcon", "cl100k_possessive", "sets", "string_mergedwithnext", "prefix_space"]
    for case in read(data / "pre_tokenizers.json"):
        if case["name"] in kept:
            yield case["name"], dump({**base, "pre_tokenizer": case["pre_tokenizer"]})


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", type=pathlib.Path)
    tests = parser.parse_args().tests
    corpus = tests / "fuzz" / "corpus"
    for target, seeds in [("tokenizer_json", tokenizer_json_seeds(tests / "tokenizer" / "data")),
                          ("tokenizer_encode", tokenizer_encode_seeds(tests / "tokenizer" / "data")),
                          ("chat_template", chat_template_seeds(tests / "jinja" / "data")),
                          ("harmony", harmony_seeds(tests / "harmony" / "data"))]:
        sizes = [write(corpus / target, name, data) for name, data in seeds]
        print(f"{target}: {len(sizes)} seeds, {sum(sizes)} bytes, the largest {max(sizes)}")


if __name__ == "__main__":
    main()
