#!/usr/bin/env python3
"""Writes tests/jinja/data/*.json: templates, inputs and what Python's Jinja2 renders, in transformers' environment.

  pip install jinja2 transformers gguf          (made with jinja2 3.1.6, transformers 5.24.0)
  make_template_goldens.py OUTPUT_DIRECTORY [--tokenizers DIRECTORY] [--gguf FILE]

constructs.json     small templates, one construct each
conversations.json  messages and tools that the files below name
chat.json           chat templates of our own over those conversations
real.json           with --tokenizers: the templates of real models, by their folder's name; they are not stored
gguf.json           with --gguf: the template in that file's metadata, which is not stored either
"""

import argparse
import json
import pathlib

from template_cases import CHAT_TEMPLATES, CONSTRUCTS, CONVERSATIONS, TOOLS
from transformers.utils.chat_template_utils import _compile_jinja_template

# What a render function passes besides the case's own variables.
DEFAULTS = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>"}


def render(template, messages, add_generation_prompt=True, **variables):
    """{"expected": text} or {"error": exception type, "message": its text}."""
    values = {**DEFAULTS, **variables}
    try:
        compiled = _compile_jinja_template(template)
        return {"expected": compiled.render(messages=messages, add_generation_prompt=add_generation_prompt, **values)}
    except Exception as error:  # every exception of a template is an expected error
        return {"error": type(error).__name__, "message": str(error)}


def construct_cases():
    cases = []
    for name, template, *variables in CONSTRUCTS:
        values = variables[0] if variables else {}
        cases.append({"name": name, "template": template, "variables": values, **render(template, [], **values)})
    return cases


def conversation_cases(template):
    for name, messages in CONVERSATIONS.items():
        for prompt in (True, False):
            for tools in (None, TOOLS):
                rendered = render(template, messages, prompt, tools=tools)
                yield {"conversation": name, "prompt": prompt, "tools": tools is not None, **rendered}


def chat_cases(templates):
    return [{"name": name, "template": text, "cases": list(conversation_cases(text))} for name, text in templates.items()]


def real_cases(directory):
    cases = []
    for path in sorted(directory.glob("*/tokenizer_config.json")):
        template = json.loads(path.read_text()).get("chat_template")
        if isinstance(template, str):
            cases.append({"name": path.parent.name, "cases": list(conversation_cases(template))})
    return cases


def gguf_cases(path):
    import gguf

    field = gguf.GGUFReader(path).fields["tokenizer.chat_template"]
    template = bytes(field.parts[field.data[0]]).decode()
    return [{"name": pathlib.Path(path).name, "cases": list(conversation_cases(template))}]


def write(path, cases):
    path.write_text(json.dumps(cases, ensure_ascii=False, indent=0) + "\n")
    print(path, path.stat().st_size, "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--tokenizers", type=pathlib.Path)
    parser.add_argument("--gguf")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "constructs.json", construct_cases())
    write(options.output / "conversations.json", {"conversations": CONVERSATIONS, "tools": TOOLS})
    write(options.output / "chat.json", chat_cases(CHAT_TEMPLATES))
    if options.tokenizers:
        write(options.output / "real.json", real_cases(options.tokenizers))
    if options.gguf:
        write(options.output / "gguf.json", gguf_cases(options.gguf))


if __name__ == "__main__":
    main()
