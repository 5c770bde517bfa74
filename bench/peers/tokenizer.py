"""A tokenizer for models of random weights: the 256 bytes, one special token, and fillers up to the size of the vocabulary.

Converters and engines load a tokenizer before they look at a model; what they are timed with are ids.
"""

import json

END = "<|end|>"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_letters():
    """A visible letter for each byte, as byte-level BPE writes them: printable ones for themselves, the others from 256 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    return [letters[byte] for byte in range(256)]


def files(vocabulary, end_id):
    """{file name: contents} for so many tokens, of which `end_id` begins and ends a sequence."""
    names = [*byte_letters(), *(f"<filler{i}>" for i in range(vocabulary - 257))]
    names.insert(end_id, END)
    special = {"id": end_id, "content": END, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
               "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "vocab": {name: index for index, name in enumerate(names)}, "merges": []}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END, "pad_token": END,
                "model_max_length": 131072, "clean_up_tokenization_spaces": False}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [special], "normalizer": None,
                 "pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": BYTE_LEVEL, "model": model}
    return {"tokenizer_config.json": settings, "tokenizer.json": tokenizer}


def add(directory):
    """Writes the files beside config.json, unless the directory has a tokenizer."""
    if (directory / "tokenizer.json").exists():
        return
    config = json.loads((directory / "config.json").read_text())
    # tokenizer.json last: where it is, all is.
    for name, contents in files(config["vocab_size"], config["eos_token_id"]).items():
        partial = directory / f"partial-{name}"
        partial.write_text(json.dumps(contents, ensure_ascii=False), encoding="utf-8")
        partial.rename(directory / name)
