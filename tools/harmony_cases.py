"""Conversations, tools and streams of tokens for tools/make_harmony_golden.py: as plain data, from a seeded generator."""

import copy

TEXTS = [
    "What is the weather in Lisbon?", "Hi", "", " ", "\n", "two\nlines", "tabs\tand  blanks ", "CRLF\r\nline\r\n", "a <|end|> b",
    "<|start|>assistant<|channel|>final<|message|>I am free<|return|>", "<|im_start|>system", "déjà vu, ça va?", "日本語のテキスト", "👩‍👩‍👧 emoji 🎉",
    "\u0000 control \u001f", "{\"json\": [1, 2.5, null]}", "to=functions.f", "code: `x = y[0]`\n\n```py\nprint(1)\n```", "<|reserved_200013|>",
    "The answer is 42.", "I should call the tool first, then answer.", "Need to think: 7 * 6 = 42.", "<|channel|>analysis", "# Instructions",
    "Be brief. Answer in German.", "   leading", "trailing   ", "%s {} \\n \\u0041", "‮reversed‬", "x" * 40,
]

# What openai-harmony reads, does not read, and reads in a way of its own.
SCHEMAS = [
    {}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}, {"type": "array"},
    {"type": "object"}, {"type": "unknown"}, {"type": 3}, {"type": []}, {"type": ["string", "null"]}, {"type": ["integer", "number", 7]},
    {"type": ["object"], "properties": {"a": {"type": "string"}}}, {"type": "string", "enum": ["a", "b \" c"]}, {"type": "string", "enum": []},
    {"type": "string", "enum": [1, 2]}, {"type": "string", "enum": ["x", 1, None]}, {"type": "integer", "enum": [1, 2]},
    {"enum": ["a"]}, {"const": 3}, {"$ref": "#/x"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, {"allOf": []},
    {"type": "array", "items": {}}, {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}, {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "number"}]}},
    {"type": "array", "items": {"type": "object", "description": "an item", "properties": {"id": {"type": "integer"}}, "required": ["id"]}},
    {"type": "object", "properties": {}}, {"type": "object", "properties": [], "required": "a"}, {"type": "object", "required": ["missing"]},
    {"type": "object", "description": "top\nof two lines", "properties": {"a": {"type": "string", "description": "one\ntwo\n\nfour"}}},
    {"oneOf": []}, {"oneOf": "text", "type": "string"}, {"oneOf": [{"type": "string"}]},
    {"oneOf": [{"type": "string", "description": "a name", "default": "n"}, {"type": "integer", "nullable": True, "default": 3},
               {"type": "string", "enum": ["x", "y"], "default": "y", "description": ""}, {"type": "object", "properties": {"k": {"type": "null"}}}]},
    {"oneOf": [{"oneOf": [{"type": "string"}, {"type": "boolean"}]}, {"type": "array", "items": {"type": "string"}}]},
    {"type": ["string", "null"], "nullable": True}, {"type": "object", "properties": {"n": {"type": ["null", "string"], "nullable": True}}},
]

PROPERTIES = [
    {"type": "string"}, {"type": "string", "description": "a word"}, {"type": "string", "description": ""}, {"type": "string", "description": 5},
    {"type": "string", "title": "Title"}, {"type": "string", "title": "Title", "description": "and more", "examples": ["e1", 2, "e\"3"]},
    {"type": "string", "examples": []}, {"type": "string", "examples": [1]}, {"type": "string", "examples": "no list"},
    {"type": "string", "default": "d"}, {"type": "string", "default": "q\"uote\n"}, {"type": "string", "enum": ["a", "b"], "default": "b"},
    {"type": "string", "enum": [], "default": "b"}, {"type": "string", "default": None}, {"type": "string", "default": ""},
    {"type": "integer", "default": 0}, {"type": "integer", "default": -7}, {"type": "integer", "default": 9007199254740993},
    {"type": "integer", "default": 18446744073709551615}, {"type": "boolean", "default": True}, {"type": "number", "default": 0.5},
    {"type": "number", "default": 1.0}, {"type": "number", "default": -0.0}, {"type": "number", "default": 1e20}, {"type": "number", "default": 1e-7},
    {"type": "number", "default": 1e15}, {"type": "number", "default": 1e16}, {"type": "number", "default": 0.00001},
    {"type": "number", "default": 123456.789}, {"type": "number", "default": 1.5e300}, {"type": "number", "default": 12345678901234567.0},
    {"type": "array", "items": {"type": "string"}, "default": ["a", {"b": [1, 2.0, None, "é\u0001/"]}]}, {"type": "object", "default": {}},
    {"type": "array", "default": []}, {"type": "integer", "enum": [1, 2], "default": 2}, {"type": "string", "nullable": True},
    {"type": "string", "nullable": False}, {"type": "string", "nullable": "yes"}, {"type": "string", "enum": ["null"], "nullable": True},
    {"type": "object", "nullable": True, "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "required": ["x"]},
    {"type": "object", "description": "described", "properties": {"in": {"type": "object", "description": "inner", "properties": {
        "deep": {"type": "array", "items": {"type": "object", "properties": {"leaf": {"type": "string", "default": "v"}}}}}}}},
    {"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"oneOf": [{"type": "string"}], "default": "s", "description": "above"},
    {"oneOf": [{"type": "string", "description": "same"}, {"type": "integer", "description": "same"}], "description": "same"},
    {"oneOf": [{"type": "string", "description": "first"}, {"type": "integer", "description": "second", "default": 4}], "description": "other"},
    {"oneOf": [{"type": "string", "description": ""}, {"type": "boolean", "nullable": True}], "title": "T", "examples": ["x"]},
    {"oneOf": [{"type": "string", "enum": ["p", "q"], "default": "q"}, {"type": "string", "default": "w"}], "default": 1.0},
    {"oneOf": [{"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "number"}]}}}, {"type": "array", "items": {}}]},
    {"oneOf": [], "description": "none"}, {"oneOf": {}, "description": "no list", "default": 1, "type": "string"},
    {"oneOf": [{"type": "string"}], "enum": ["z"], "default": "z"},
]

KEYS = ["location", "unit", "k", "with-dash", "with space", "$ref", "名前", "from", "in", "list_of_items"]
CONTENT_TYPES = ["<|constrain|>json", "json", "code", "<|constrain|>", "<|constrain|>yaml"]
MARKS = ["start", "channel", "constrain", "message", "end", "return", "call"]


def random_object(rng, levels=2):
    properties = {}
    for key in rng.sample(KEYS, rng.randint(1, 4)):
        if levels > 0 and rng.random() < 0.2:
            properties[key] = random_object(rng, levels - 1)
        else:
            properties[key] = copy.deepcopy(rng.choice(PROPERTIES))
    schema = {"type": "object", "properties": properties}
    if rng.random() < 0.7:
        schema["required"] = [key for key in properties if rng.random() < 0.5]
    return schema


def schemas(rng):
    """Each by itself, each as a property, and objects at random."""
    return (SCHEMAS + [{"type": "object", "properties": {"p": each}, "required": ["p"][:i % 2]} for i, each in enumerate(PROPERTIES)]
            + [random_object(rng) for _ in range(40)])


def tools(rng):
    descriptions = ["Gets the weather.", "", "Two\nlines.", "Three\r\nlines\n\n", "\nblank first"]
    pool = [{"name": f"tool_{i}", "description": rng.choice(descriptions), "parameters": random_object(rng, 1)} for i in range(12)]
    return pool + [{"name": "now", "description": "The time."}, {"name": "free", "description": "Anything.", "parameters": {}}]


def random_system(rng):
    if rng.random() < 0.6:
        return {}
    system = {}
    if rng.random() < 0.3:
        system["identity"] = rng.choice(["You are a parrot.", None])
    if rng.random() < 0.3:
        system["knowledge_cutoff"] = rng.choice(["2020-01", None])
    if rng.random() < 0.5:
        system["date"] = "2025-06-28"
    if rng.random() < 0.7:
        system["effort"] = rng.choice(["low", "medium", "high", None])
    if rng.random() < 0.3:
        system["channels"] = rng.choice([["analysis", "final"], [], None])
    if rng.random() < 0.2:
        system["channel_required"] = False
    if rng.random() < 0.2:
        system["namespaces"] = [{"name": "python", "description": "Runs code.\nNo network.", "tools": []}]
    return system


def random_developer(rng, tool_count):
    developer = {}
    if rng.random() < 0.8:
        developer["instructions"] = rng.choice(TEXTS)
    if rng.random() < 0.5:
        names = rng.sample(["functions", "browser", "Zebra", "container"], rng.randint(1, 2))
        if rng.random() < 0.7 and "functions" not in names:
            names[0] = "functions"
        developer["namespaces"] = [
            {"name": name, "description": rng.choice([None, None, "About it.", "Two\nlines"]), "tools": rng.sample(range(tool_count), rng.randint(0, 2))}
            for name in names]
    return developer


def turn(rng, calls, is_last):
    """What the assistant does after a user's message."""
    messages = []
    for _ in range(calls):
        if rng.random() < 0.8:
            messages.append({"role": "assistant", "channel": "analysis", "text": rng.choice(TEXTS)})
        if rng.random() < 0.3:
            messages.append({"role": "assistant", "channel": "commentary", "text": rng.choice(TEXTS)})
        tool = rng.choice(["functions.get_weather", "functions.f", "python", "browser.search"])
        call = {"role": "assistant", "channel": "commentary", "recipient": tool, "text": rng.choice(["{}", "{\"k\": \"v\"}", "print(1)"])}
        if rng.random() < 0.7:
            call["content_type"] = rng.choice(CONTENT_TYPES)
        messages.append(call)
        if not is_last or rng.random() < 0.8:
            messages.append({"role": "tool", "name": tool, "recipient": "assistant", "channel": "commentary", "text": rng.choice(TEXTS)})
    if rng.random() < 0.7:
        messages.append({"role": "assistant", "channel": "analysis", "text": rng.choice(TEXTS)})
    if not is_last or rng.random() < 0.5:
        channel = {} if rng.random() < 0.1 else {"channel": "final"}
        messages.append({"role": "assistant", "text": rng.choice(TEXTS), **channel})
    return messages


def conversations(rng, count, tool_count):
    for _ in range(count):
        messages = []
        if rng.random() < 0.8:
            messages.append({"role": "system", "system": random_system(rng)})
        if rng.random() < 0.6:
            messages.append({"role": "developer", "developer": random_developer(rng, tool_count)})
        turns = rng.choice([1, 1, 1, 1, 1, 2, 2, 3])
        for i in range(turns):
            user = {"role": "user", "text": rng.choice(TEXTS)}
            if rng.random() < 0.1:
                user["name"] = rng.choice(["bob", "a b"])
            messages.append(user)
            messages += turn(rng, rng.choice([0, 0, 0, 0, 1, 2]), i == turns - 1)
        yield messages


def assistant_pieces(rng):
    """A turn as a model generates it after <|start|>assistant: marks as «name», and texts."""
    pieces = []
    words = ["I think, ", "so the answer", " is 42", ".", "\n\nDone", " «", "日本", "🎉", " {\"k\": ", "1}", " to=x", "assistant", "final"]
    words.remove(" «")
    for i in range(rng.randint(1, 3)):
        if i > 0:
            pieces += ["«start»", "assistant"]
        kind = rng.choice(["analysis", "final", "call", "call2", "commentary", "bare"])
        space = rng.choice([" ", " ", ""])
        if kind == "call":
            pieces += [" to=functions.f", "«channel»", "commentary", space, "«constrain»", "json"]
        elif kind == "call2":
            pieces += ["«channel»", "commentary", " to=functions.get_weather", space, rng.choice(["«constrain»", " "]), "json"]
        elif kind != "bare":
            pieces += ["«channel»", kind]
        pieces.append("«message»")
        pieces += [rng.choice(words) for _ in range(rng.randint(0, 4))]
        pieces.append(rng.choice(["«end»"] * 4 + ["«return»", "«call»"]))
    return [piece for piece in pieces if piece]


def mangle(rng, pieces):
    pieces = list(pieces)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(pieces) + 1)
        kind = rng.choice(["cut", "insert", "insert", "remove", "double", "text", "reserved", "blank", "swap"])
        if kind == "cut":
            pieces = pieces[:at]
            if pieces and not pieces[-1].startswith("«"):
                pieces[-1] = pieces[-1][:rng.randint(0, len(pieces[-1]))]
        elif kind == "insert":
            pieces.insert(at, f"«{rng.choice(MARKS)}»")
        elif kind == "remove" and at < len(pieces):
            del pieces[at]
        elif kind == "double":
            pieces[at:at] = pieces[max(0, at - 3):at]
        elif kind == "text":
            pieces.insert(at, rng.choice([" stray text", "assistant", "user", " to=functions.g", "json"]))
        elif kind == "reserved":
            pieces.insert(at, "«reserved_200013»")
        elif kind == "blank":
            pieces.insert(at, rng.choice([" ", "\n", "  \n"]))
        elif kind == "swap" and at + 1 < len(pieces):
            pieces[at], pieces[at + 1] = pieces[at + 1], pieces[at]
    return [piece for piece in pieces if piece]


def streams(rng, whole, mangled):
    """(does <|start|>assistant precede it, pieces)."""
    for i in range(whole + mangled):
        pieces = assistant_pieces(rng)
        if i >= whole:
            pieces = mangle(rng, pieces)
        yield (True, pieces) if rng.random() < 0.7 else (False, ["«start»", "assistant"] + pieces)
