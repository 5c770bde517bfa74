#!/usr/bin/env python3
"""Writes tests/harmony/data: what the PyPI package `openai-harmony` renders and parses.

    pip install openai-harmony==0.0.8
    python tools/make_harmony_golden.py tests/harmony/data --tokenizer GPT_OSS/tokenizer.json

The tokenizer of a published GPT-OSS model gives the package its vocabulary, which it would otherwise download. Nothing
of it is in the files: they hold text, in which «name» is the special token <|name|>.

    schemas.json        {"schema", "type"}: a tool's parameters and the type that is shown for them
    conversations.json  "tools": a pool; "parts": texts that stand for {name} in others; "conversations": "messages" (of
                        the assistant where there is no role), "text", and "drop": whether earlier thoughts are left
                        out. Where the package leaves out others than src/tokenizer/harmony/render.h says, it got the
                        conversation without those
    streams.json        "text" of an answer, "role": whether <|start|>assistant precedes it; "messages" that the
                        package finds, up to the first that it refuses or takes a mark into the name of; "complete":
                        whether those are all. None where <|start|> stands within a content
"""

import argparse
import base64
import json
import os
import pathlib
import random
import re
import tempfile

import harmony_cases

SEED = 20260101


def write_vocabulary(tokenizer, path):
    """tokenizer.json's ordinary tokens in tiktoken's form."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(byte): byte for byte in letters}
    alphabet |= {chr(256 + i): byte for i, byte in enumerate(b for b in range(256) if b not in letters)}
    vocabulary = json.loads(tokenizer.read_text())["model"]["vocab"]
    with open(path, "wb") as file:
        for token, rank in sorted(vocabulary.items(), key=lambda each: each[1]):
            file.write(base64.b64encode(bytes(alphabet[c] for c in token)) + b" %d\n" % rank)


def load_encoding(tokenizer):
    folder = tempfile.mkdtemp()
    write_vocabulary(tokenizer, os.path.join(folder, "o200k_base.tiktoken"))
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = folder
    import openai_harmony

    return openai_harmony, openai_harmony.load_harmony_encoding("HarmonyGptOss")


class Golden:
    def __init__(self, tokenizer):
        self.harmony, self.encoding = load_encoding(tokenizer)
        self.rules = []  # of conversations with thoughts left out: whether the package leaves out the same
        names = [f"<|{mark}|>" for mark in [*harmony_cases.MARKS, "reserved_200013"]]
        self.marks = {self.encoding.encode(name, allowed_special="all")[0]: f"«{name[2:-2]}»" for name in names}

    def text(self, ids):
        """Special tokens as «name»."""
        text, run = "", []
        for id in [*ids, None]:
            if id is not None and id not in self.marks:
                run.append(id)
                continue
            text += self.encoding.decode_utf8(run) + self.marks.get(id, "")
            run = []
        return text

    def ids(self, text):
        ids = []
        for part in re.split("(«[a-z_0-9]+»)", text):
            if part.startswith("«"):
                ids.append(next(id for id, mark in self.marks.items() if mark == part))
            elif part:
                ids += self.encoding.encode(part, disallowed_special=())
        return ids

    # Rendering

    def tool(self, tool):
        return self.harmony.ToolDescription(name=tool["name"], description=tool["description"], parameters=tool.get("parameters"))

    def schema_type(self, schema):
        tool = self.tool({"name": "t", "description": "", "parameters": schema})
        content = self.harmony.DeveloperContent().with_function_tools([tool])
        message = self.harmony.Message.from_role_and_content(self.harmony.Role.DEVELOPER, content)
        text = self.text(self.encoding.render(message))
        return re.search(r"namespace functions \{\n\ntype t = \(_: (.*)\) => any;\n\n\} // ", text, re.DOTALL)[1]

    def namespaces(self, listed, pool):
        if not listed:
            return None
        return {each["name"]: self.harmony.ToolNamespaceConfig(name=each["name"], description=each["description"],
                                                               tools=[self.tool(pool[i]) for i in each["tools"]]) for each in listed}

    def system(self, given, pool):
        content = self.harmony.SystemContent()
        for key, field in (("identity", "model_identity"), ("knowledge_cutoff", "knowledge_cutoff"), ("date", "conversation_start_date")):
            if key in given:
                setattr(content, field, given[key])
        if "effort" in given:
            content.reasoning_effort = given["effort"] and self.harmony.ReasoningEffort[given["effort"].upper()]
        channels = given.get("channels", content.channel_config.valid_channels)
        content.channel_config = None if channels is None else self.harmony.ChannelConfig(
            valid_channels=channels, channel_required=given.get("channel_required", True))
        content.tools = self.namespaces(given.get("namespaces"), pool)
        return content

    def message(self, given, pool):
        content = given.get("text")
        if "system" in given:
            content = self.system(given["system"], pool)
        if "developer" in given:
            developer = given["developer"]
            content = self.harmony.DeveloperContent(instructions=developer.get("instructions"),
                                                    tools=self.namespaces(developer.get("namespaces"), pool))
        author = self.harmony.Author(role=self.harmony.Role(given["role"]), name=given.get("name"))
        message = self.harmony.Message.from_author_and_content(author, content)
        message.channel, message.recipient, message.content_type = (given.get(key) for key in ("channel", "recipient", "content_type"))
        return message

    def conversation(self, messages, pool, drop):
        """With all thoughts, or with those of render.h: by the package's rule where it leaves out the same."""
        objects = [self.message(each, pool) for each in messages]
        answers = [i for i, each in enumerate(messages) if each.get("channel") == "final"]
        kept = [each for i, each in enumerate(objects) if not (answers and i < answers[-1] and messages[i].get("channel") == "analysis")]

        def render(selected, auto_drop):
            config = self.harmony.RenderConversationConfig(auto_drop_analysis=auto_drop)
            conversation = self.harmony.Conversation.from_messages(selected)
            return self.encoding.render_conversation_for_completion(conversation, self.harmony.Role.ASSISTANT, config=config)

        ids = render(kept if drop else objects, False)
        if drop and len(kept) < len(objects):
            self.rules.append(ids == render(objects, True))
        return {"messages": messages, "drop": drop, "text": self.text(ids)}

    def conversations(self, rng, count):
        pool = harmony_cases.tools(rng)
        parts = {"system": self.text(self.encoding.render(self.message({"role": "system", "system": {}}, pool)))[len("«start»system«message»"):-len("«end»")]}
        for i, tool in enumerate(pool):
            content = self.harmony.DeveloperContent().with_function_tools([self.tool(tool)])
            message = self.harmony.Message.from_role_and_content(self.harmony.Role.DEVELOPER, content)
            text = self.text(self.encoding.render(message))
            parts[f"tool {i}"] = text.split("namespace functions {\n\n")[1].rsplit("\n\n} // namespace", 1)[0]
        parts |= {f"text {i}": text for i, text in enumerate(harmony_cases.TEXTS) if len(text.encode()) > 9}
        cases = []
        for i, messages in enumerate(harmony_cases.conversations(rng, count, len(pool))):
            case = self.conversation(messages, pool, drop=i % 4 != 3)
            case["text"] = shorten(case["text"], parts)
            for each in case["messages"]:
                if "text" in each:
                    each["text"] = shorten(each["text"], parts)
                if each["role"] == "assistant":
                    del each["role"]
            cases.append(case)
        print(len(self.rules), "of", len(cases), "conversations lose thoughts,", sum(self.rules), "of them by the package's rule")
        return {"tools": pool, "parts": parts, "conversations": cases}

    # Parsing

    def stream(self, role, text):
        parser = self.harmony.StreamableParser(self.encoding, role=self.harmony.Role.ASSISTANT if role else None)
        complete = True
        try:
            for id in self.ids(text):
                parser.process(id)
            parser.process_eos()
        except self.harmony.HarmonyError:
            complete = False
        messages = []
        for each in parser.messages:
            message = each.to_dict()
            message["content"] = message["content"][0]["text"]
            if message["name"] is None:
                del message["name"]
            if message["role"] == "assistant":
                del message["role"]
            if "<|start|>" in message["content"]:
                return None
            header = [message.get(key) or "" for key in ("name", "recipient", "channel")]
            header.append((message.get("content_type") or "").removeprefix("<|constrain|>"))
            if any("<|" in field for field in header) or header[0].startswith("to="):
                complete = False
                break
            messages.append(message)
        return {"role": role, "text": text, "complete": complete, "messages": messages}

    def streams(self, rng, whole, mangled):
        cases = [self.stream(role, "".join(pieces)) for role, pieces in harmony_cases.streams(rng, whole, mangled)]
        cases = [case for case in cases if case is not None]
        print(sum(case["complete"] for case in cases), "of", len(cases), "streams are read to their end")
        return cases


def shorten(text, parts):
    for name, part in parts.items():
        text = text.replace(part, "{" + name + "}")
    return text


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(path, value):
    """One case a line."""
    if isinstance(value, list):
        lines = ",\n".join(dumps(each) for each in value)
        text = f"[\n{lines}\n]\n"
    else:
        parts = []
        for key, each in value.items():
            if isinstance(each, list):
                lines = ",\n".join(dumps(item) for item in each)
                parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
            else:
                parts.append(f"{json.dumps(key)}: {dumps(each)}")
        text = "{\n" + ",\n".join(parts) + "\n}\n"
    path.write_text(text)
    print(path, path.stat().st_size, "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    golden = Golden(arguments.tokenizer)
    rng = random.Random(SEED)
    write(arguments.output / "schemas.json", [{"schema": each, "type": golden.schema_type(each)} for each in harmony_cases.schemas(rng)])
    write(arguments.output / "conversations.json", golden.conversations(rng, 205))
    write(arguments.output / "streams.json", golden.streams(rng, 50, 190))


if __name__ == "__main__":
    main()
