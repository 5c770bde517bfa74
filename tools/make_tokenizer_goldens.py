#!/usr/bin/env python3
"""Writes tests/tokenizer/data: small tokenizers trained here, a corpus, and its ids by the PyPI package `tokenizers`.

    pip install tokenizers==0.23.3 tiktoken==0.14.0 gguf jinja2 transformers    (Python 3.11, whose Unicode version is that of PCRE2 10.42)
    python tools/make_tokenizer_goldens.py tests/tokenizer/data [--data FOLDER] [--smollm2 FILE.gguf]

`--data` names a folder with tokenizers/{llama3_1,qwen2_5,gptoss} (tokenizer.json of the published models), `--smollm2` a
GGUF file of SmolLM2. Of these only ids are written, after `tiktoken` has given the same ones for gptoss. Without them
their golden files stay as they are.

    corpus.json           a list of strings; {"hex": "..."} stands for bytes that are not UTF-8
    NAME/tokenizer.json   a small tokenizer (also NAME/tokenizer_config.json for some of them)
    NAME.ids.json         "ids": one list per text; "no_special": {index: ids} where --no-special changes them;
                          "pieces" (small tokenizers): byte lengths of the pre-tokenised text, added tokens not looked for
    pre_tokenizers.json   pre-tokenizers of no known family: "pre_tokenizer" as in tokenizer.json; "pieces": byte lengths for
                          every second text of the corpus, null where it has code points newer than Unicode 14; "kept": the
                          bytes, in hex, of all pieces together where some of the text is in none
    small_r1.chat.json    conversations with what that tokenizer's chat template makes of them, as text and as ids
    unicode_classes.json  the code points of the classes that splitters know, as ranges [first, last]
"""

import argparse
import json
import pathlib
import random
import unicodedata

from template_cases import CONVERSATIONS, WIDE_TOKENS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import _compile_jinja_template

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER_PART = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER_PART = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K_REST = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER_PART}*{LOWER_PART}+{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{UPPER_PART}+{LOWER_PART}*"
         rf"{CONTRACTION}|{O200K_REST}")

SENTENCES = """
The river rises in the hills and it's slower near the sea; they'll say we've seen nothing like it. I'm sure you'd agree.
A tokenizer turns text into numbers, and numbers into text again, without losing a single byte on the way.
Seventeen small boats left the harbour at 06:45, 3 more at 07:10, and the last 120 before 12:00 on 31.12.1999.
for (int i = 0; i < count; ++i) {\n    total += values[i] * scale;\n}\nreturn total / static_cast<double>(count);
def mean(values):\n\tif not values:\n\t\treturn None\n\treturn sum(values) / len(values)\n\n\nprint(mean([1, 2, 3]))
Der Fluss entspringt im Gebirge, fließt durch die Täler und mündet schließlich müde ins Meer. Schöne Grüße!
La rivière naît dans les montagnes, traverse la vallée, puis s'étire jusqu'à la mer; où est-elle allée, déjà?
El río nace en la montaña, cruza el valle y llega cansado al mar. ¿Quién lo ha visto? ¡Nadie todavía!
Река начинается в горах, течёт через долину и впадает в море. Сколько кораблей вышло сегодня утром?
Ο ποταμός πηγάζει από τα βουνά, διασχίζει την κοιλάδα και χύνεται στη θάλασσα.
河流发源于山中，穿过山谷，最后流入大海。今天早上有多少艘船离开了港口？
川は山から流れ出し、谷を通って海に注ぎます。けさは何隻の船が港を出ましたか。
강은 산에서 시작하여 골짜기를 지나 바다로 흘러갑니다. 오늘 아침에 몇 척의 배가 떠났습니까?
النهر ينبع من الجبال ويعبر الوادي ثم يصب في البحر. كم سفينة غادرت الميناء هذا الصباح؟
नदी पहाड़ों से निकलती है, घाटी से होकर बहती है और समुद्र में मिल जाती है।
{"name": "harbour", "boats": [17, 3, 120], "open": true, "note": null}\n<p class="x">a &amp; b</p>\nhttps://example.org/a?b=c#d
Wait... what?! No -- really? Yes!!! (100% sure) [see §4.2] *bold* _it_ ~x~ `code` $5.00 €7,50 £3 50% #1 a@b.org
😀 👍🏽 👨‍👩‍👧 🏳️‍🌈 🇩🇪 ❤️ ✨ → ← ≤ ≥ ≠ ∑ ∫ √2 π≈3.14159 ½ ² Ⅷ
""".strip().replace("\\n", "\n").replace("\\t", "\t").split("\n\n")
SENTENCES = [line for block in SENTENCES for line in block.split("\n")] + SENTENCES

SPECIALS = ["<|begin|>", "<|end|>", "<|user|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>",
            "<|begin_of_text|>", "<|start_header_id|>", "<tool_call>", "<|file_sep|>", "<tool>", "<note>", "<|end"]

R1_BEGIN, R1_END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
R1_TOKENS = [(R1_END, True), ("<｜User｜>", False), ("<｜Assistant｜>", False), (R1_BEGIN, True), ("<|EOT|>", False), ("<think>", False),
             ("</think>", False)]

HAND_WRITTEN = [
    "", " ", "  ", "a", "\n", "\r\n", "\t", "\0", "a\0b", "Hello world", " Hello  world ", "Hello\nworld\n", "\n\n\n", "a \n b",
    "a  \n  b", "a\n  \n  b", "  \n", "\n  ", " \n \n x", "x \t\n\r\n y", "\r\r\n\n\r", "\t\tx", "\t x", " \tx", "x\t", "x \t ",
    "    indented", "\u3000word", "word\u3000", "\u3000\u3000word", "\u00a0word", "a\u00a0\u00a0b", "a\u2028b", "a\u2029 b", "a\x85b",
    "a\u200bb", "a\u180eb", "a\x1cb\x1db\x1e\x1f", "\ufeffbom", "\x0b\x0c x", "1", "12", "123", "1234", "12345678901234567890", " 1",
    "  12", "a1b2", "1a", "3.14", "1,000,000", "-5", "1e-10", "0x1F", "٣٤٥٦", "१२३४", "²³¹", "½⅓", "ⅧⅨ", "一二三四", "①②", "1 2  3   4",
    "abc  12", "abc  x", "it's", "IT'S", "it'S", "I'm we're they've I'll he'd can't", "I'M WE'RE THEY'VE I'LL HE'D CAN'T",
    "it\u2019s", "'", "''", "'s", " 's", "''s", "'x", "'\u017f", "a'\u017fb", "'\u017f\u017f", "'rE 'vE 'lL 'Re", "'r", "'l", "'lx", "'reality",
    "o'clock rock'n'roll", "d'accord l'eau", "...", "....", "!!!", "a.b.c", "a...\n\nb", "?!\r\n", " ?!", "  ?!", "(a)", "((a))", "{\n}\n",
    "};\n\n\n", "//\n", "/*\n*/", "->", "=>", "!=", "<=", "&&", "||", "::", "<<", "a<b>c", "#include <x>", "$x", "@y", "_z", "__init__",
    "snake_case camelCase PascalCase SCREAMING_CASE", "e\u0301", "é", "caf\u00e9 cafe\u0301", "a\u0301\u0323", "a\u0323\u0301", "\u0301", "\u0301a",
    " \u0301", "x\u0301\u0301\u0301", "\u1e0b\u0323", "q\u0307\u0323", "\u212b \u2126 \u212a", "\ufb01 \ufb00", "\u0344", "\u0958 \u0929",
    "\u1100\u1161\u11a8", "\uac00\u11a8", "각", "\u0cc6\u0cc2\u0cd5", "\u09c7\u09be", "\U0001d15e", "\u2adc", "<\u0338", ">\u0338=", "=\u0338",
    "<note>\u0338", "e\u0301<|end|>\u0301", "\u0e01\u0e33", "ไม่มีเรือ", "Việt Nam việc", "ektedir", "İstanbul ıĞ", "ǅ ǈ ǋ", "ß ẞ", "ΑΣ ας", "ʰ ʷ", "ª º",
    "你好", "你好，世界！", "こんにちは世界", "안녕하세요", "你好 world 你", "𠀀𠮷", "𝔘𝔫𝔦", "السلام عليكم", "שלום", "नमस्ते", "สวัสดี", "გამარჯობა", "ሰላም",
    "😀", "😀😀", " 😀", "a😀b", "👨\u200d👩\u200d👧", "👍🏽", "🏳\ufe0f\u200d🌈", "🇩🇪🇫🇷", "❤\ufe0f", "1\ufe0f\u20e3", "\U000e0041", "\U0010ffff", "\ufffd", "\ufffe",
    "\ue000", "\U00016100", "\U0001e5f0", "\U0002ebf0", "\U00010d40",
    "<|begin|>Hello<|end|>", "<|begin|><|begin|>", "<|begin|> <|end|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|endoftext|>", "x<|endoftext|>y", "<|endoftext|",
    "<|<|endoftext|>|>", "<|eot_id", "|eot_id|>", "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<tool>a</tool>", "<note>x</note>", "<|endx",
    "<|end<|end|>", " <|end|> ", "<repo_name>a/b<file_sep>", "<|reserved_special_token_2|>", "unmergeable", " unmergeable", "an unmergeable word",
]

INVALID = ["80", "ff", "c0af", "e0809f", "eda080", "edbfbf", "f0808080", "f4908080", "f5808080", "fe", "c3", "e4bd", "f09f98", "61c3", "61c362",
           "e4bd61", "f09f9861", "f09f80", "c3c3a9", "e4bde4bda0", "20c320", "3c7c656e64c37c3e", "c33c7c656e647c3e", "e4bd3c7c656e647c3ea0",
           "f18080e1808041", "ceb1e4bdceb2", "efbfbdc3", "0ac30a", "31c332", "65cc", "65cc81cc", "6180808080", "e2808ae280"]


def corpus():
    """The fixed cases, then random mixtures of what they are made of (seeded: the same at every run)."""
    rng = random.Random(20261)
    alphabets = [list("abcdefgh stRElvmD'"), list("'sStTrReEvVmMlLdD\u017f x"), list(" \t\n\r\u00a0\u3000\u2028ax1.\x85"),
                 list("0123456789٣५²½Ⅷ x.,"), ["é", "e\u0301", "\u0323", "\u0301", "\u1100", "\u1161", "\u11a8", "가", "\u0344", "\u212b", "क\u093c"],
                 list("你好世界。，ABC한국어日本語カタカナ 1"), ["😀", "👨\u200d👩", "\u200d", "\ufe0f", "🏽", "🇩", "🇪", " ", "a"],
                 list("abAB你\u0301\u02b0\u01c5' 's1./\n"), ["A", "B", "c", "\u0301", "你", "'ll", "'S", " ", "\t", "/", "ǅ"],
                 list(".,;:!?-_/\\()[]{}<>|@#$%^&*+=~`\"'\n  "), [chr(c) for c in range(0x250)], SPECIALS + [" ", "\n", "a", "<|", "|>", "é"]]
    texts = list(HAND_WRITTEN)
    texts += SENTENCES
    for alphabet in alphabets:
        texts += ["".join(rng.choice(alphabet) for _ in range(rng.choice([3, 6, 12, 24]))) for _ in range(12)]
    for _ in range(24):
        texts.append("".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.choice([8, 16, 32]))))
    for _ in range(16):
        texts.append("".join(chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])) for _ in range(8)))
    return [text.encode() for text in texts] + [bytes.fromhex(text) for text in INVALID]


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level(False)])


def train(pre_tokenizer, normalizer, size, first_tokens=()):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  special_tokens=list(first_tokens))
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    return json.loads(tokenizer.to_str())


def added(token_id, content, special=True, normalized=False):
    return {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized,
            "special": special}


def small_tokenizers():
    """name -> tokenizer.json of each splitter, with what its published relative has besides."""
    result = {}
    unreachable = "\u0120unmergeable"  # a token that merging does not make: only ignore_merges finds it

    llama3 = train(split(LLAMA3), None, 700)
    llama3["model"]["ignore_merges"] = True
    llama3["model"]["vocab"][unreachable] = 700
    llama3["model"]["merges"] = [" ".join(pair) for pair in llama3["model"]["merges"]]  # as in the published file
    llama3["added_tokens"] = [added(701 + i, s) for i, s in enumerate(["<|begin|>", "<|end|>", "<|user|>", "<|eot_id|>"])]
    llama3["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [701], "tokens": ["<|begin|>"]}}}
    result["small_llama3"] = llama3

    o200k = train(split(O200K), None, 700)
    o200k["model"]["ignore_merges"] = True
    o200k["model"]["vocab"][unreachable] = 700
    o200k["added_tokens"] = [added(701 + i, s) for i, s in enumerate(["<|begin|>", "<|end|>", "<|endoftext|>"])]
    result["small_o200k"] = o200k

    qwen2 = train(split(QWEN2), normalizers.NFC(), 700)
    qwen2["added_tokens"] = [added(700, "<|endoftext|>"), added(701, "<|im_start|>"), added(702, "<|im_end|>"),
                             added(703, "<tool_call>", special=False), added(704, "<note>", special=False, normalized=True),
                             added(705, "<|end")]
    result["small_qwen2"] = qwen2

    gpt2 = train(byte_level(True), None, 600, ["<|endoftext|>"])
    gpt2["model"]["vocab"][unreachable] = 600
    gpt2["added_tokens"].append(added(601, "<note>", special=False, normalized=True))
    result["small_gpt2"] = gpt2

    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)])
    smollm2 = train(digits, None, 600, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    for byte in ["\u0104", "\u0106"]:  # SmolLM2 has no token for some control characters: they vanish
        del smollm2["model"]["vocab"][byte]
    result["small_smollm2"] = smollm2

    # As DeepSeek-R1-Distill-Qwen has it: tokens of wide characters, of which only the beginning and the end are special.
    r1 = train(split(QWEN2), normalizers.NFC(), 600)
    r1["added_tokens"] = [added(600 + i, content, special=special) for i, (content, special) in enumerate(R1_TOKENS)]
    r1["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": R1_BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {R1_BEGIN: {"id": R1_BEGIN, "ids": [603], "tokens": [R1_BEGIN]}}}
    result["small_r1"] = r1
    return result


def named_token(content):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def r1_config():
    return {"add_bos_token": True, "add_eos_token": False, "bos_token": named_token(R1_BEGIN), "eos_token": named_token(R1_END),
            "pad_token": named_token(R1_END), "unk_token": None, "legacy": True, "model_max_length": 16384,
            "tokenizer_class": "LlamaTokenizerFast", "chat_template": WIDE_TOKENS}


def r1_conversations(document):
    """What transformers gives a model for each conversation: [{"messages", "text", "ids"}]."""
    tokenizer = Tokenizer.from_str(json.dumps(document))
    template = _compile_jinja_template(WIDE_TOKENS)
    cases = []
    for messages in CONVERSATIONS.values():
        if not messages or not all(isinstance(message.get("content"), str) for message in messages):
            continue
        text = template.render(messages=messages, add_generation_prompt=True, bos_token=R1_BEGIN, eos_token=R1_END)
        cases.append({"messages": messages, "text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    return cases


def step(kind, **fields):
    return {"type": kind, **fields}


def split_step(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return step("Split", pattern={kind: pattern}, behavior=behavior, invert=invert)


def steps(*list_of_steps, use_regex=False):
    byte_level_step = step("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=use_regex)
    return step("Sequence", pretokenizers=[*list_of_steps, byte_level_step])


def other_pre_tokenizers():
    """Combinations that published files have (by the family known for it), then single features."""
    digits = step("Digits", individual_digits=True)
    result = {
        "deepseek_v3": steps(
            split_step(r"\p{N}{1,3}"), split_step("[一-龥぀-ゟ゠-ヿ]+"),
            split_step(r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
                       r"""|\s*[\r\n]+|\s+(?!\S)|\s+""")),
        "deepseek_coder": steps(split_step(r"[\r\n]"), split_step(r"\s?\p{L}+"), split_step(r"\s?\p{P}+"),
                                split_step("[一-龥ࠀ-一가-퟿]+"), digits),
        "falcon": step("Sequence", pretokenizers=[
            step("Punctuation", behavior="Contiguous"), step("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
            step("Digits", individual_digits=False), split_step("[0-9][0-9][0-9]")]),
        "bloom": steps(split_step(r" ?[^(\s|[.,!?…。，、।۔،])]+")),
        "tekken": steps(split_step(rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER_PART}*{LOWER_PART}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER_PART}+{LOWER_PART}*|"
                                   + O200K_REST.replace("{1,3}", ""))),
        "qwen_marks": steps(split_step(QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}", r"[^\s\p{L}\p{M}"))),
        "cl100k_possessive": steps(split_step(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|"
                                              r"\s++$|\s*[\r\n]|\s+(?!\S)|\s")),
        "kimi": steps(split_step(r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
                                 r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t)?|" + O200K_REST)),
        "prefix_space": step("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
        "prefix_space_then_split": step("Sequence", pretokenizers=[
            step("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=False), split_step("Ġ")]),
        "matches_only": steps(split_step(r"\p{L}+", "Removed", True)),
        "words": steps(split_step(r"\b\w+\b|\W")), "not_at_words": steps(split_step(r"\B")),
        "lines": steps(split_step(r"^.|.$|\A.|.\z")), "anchors_between": steps(split_step(r"(?<=[a-z])(?=[A-Z])|(?<!\d)(?=\d)")),
        "ignored_case": steps(split_step(r"(?i)[a-f]+|ST")), "atomic": steps(split_step(r"(?>a+|b+)(?-i:c)|(x|y)z")),
        "numbers_of_characters": steps(split_step(r"[\x41-\x5a\u00e0-\u00ff\x{4e00}-\x{9fff}]{2,}|\t|\x{1f600}")),
        "repetitions": steps(split_step(r"a{,2}b|\p{N}{2}|[ab]{1,2}?c|x*?y|{|a{|}")),
        "sets": steps(split_step(r"[^\S\r\n]+|[\D&&[^\W_]]+|[[a-c][^a-z]\d]|[\p{^L}&&\P{N}]")),
        "class_details": steps(split_step(r"[]a]+|[^]\w\s]|[\w-]+|[+\--/]|[\[\]]|[$-&.]")),
        "empty_matches": steps(split_step(r"x*")), "empty_between": steps(split_step(r"(?=\p{Lu})|1*")),
    }
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            name = "string_" + behavior.lower() + ("_inverted" if invert else "")
            result[name] = steps(split_step("a", behavior, invert, "String"), use_regex=behavior == "Isolated")
        result["spaces_" + behavior.lower()] = steps(split_step(r"\s", behavior), digits)
    return result


def newer_than_unicode_14(matcher, text):
    """Whether a character of the text is assigned for the package and not in Unicode 14."""
    assert unicodedata.unidata_version == "14.0.0", "use a Python with Unicode 14.0.0, which is 3.11"
    return any(unicodedata.category(c) == "Cn" and len(matcher.pre_tokenize_str("\x01" + c)) == 1 for c in text)


def pre_tokenizer_cases(texts):
    unassigned = pre_tokenizers.Split(Regex(r"\p{Cn}"), "isolated")
    byte_of = {c: b for b, c in enumerate(byte_characters())}
    decoded = [text.decode("utf-8", "replace") for text in texts[::2]]
    newer = [newer_than_unicode_14(unassigned, text) for text in decoded]
    cases = []
    for name, document in other_pre_tokenizers().items():
        tokenizer = Tokenizer.from_str(json.dumps({**json.loads(Tokenizer(models.BPE()).to_str()), "pre_tokenizer": document}))
        pieces, kept = [], {}
        for i, text in enumerate(decoded):
            if newer[i]:
                pieces.append(None)
                continue
            found = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
            pieces.append([len(piece) for piece in found])
            together = bytes(byte_of[c] for c in "".join(found))
            if together != text.encode():
                kept[str(i)] = together.hex()
        cases.append({"name": name, "pre_tokenizer": document, "pieces": pieces, "kept": kept})
    return cases


def byte_characters():
    """The character of the byte alphabet for each byte."""
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in itself]
    return [chr(b if b in itself else 256 + others.index(b)) for b in range(256)]


def check_tiktoken(path, tokenizer, texts):
    """Ids without special tokens equal those of `tiktoken` with the same vocabulary and pattern."""
    import tiktoken

    document = json.loads(path.read_text())
    byte_of = {c: b for b, c in enumerate(byte_characters())}
    ranks = {bytes(byte_of[c] for c in token): rank for token, rank in document["model"]["vocab"].items()}
    pattern = document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    encoding = tiktoken.Encoding("reference", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    tokenizer.encode_special_tokens = True
    for text in texts:
        decoded = text.decode("utf-8", "replace")
        assert encoding.encode_ordinary(decoded) == tokenizer.encode(decoded, add_special_tokens=False).ids, decoded


def smollm2_from_gguf(path):
    import gguf
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def golden(tokenizer, texts, with_pieces):
    def encode(text, special):
        tokenizer.encode_special_tokens = not special
        return tokenizer.encode(text, add_special_tokens=False).ids

    decoded = [text.decode("utf-8", "replace") for text in texts]
    ids = [encode(text, True) for text in decoded]
    plain = [encode(text, False) for text in decoded]
    result = {"ids": ids, "no_special": {str(i): p for i, p in enumerate(plain) if p != ids[i]}}
    if with_pieces:
        # A piece of byte-level characters has one character per byte.
        result["pieces"] = [[len(piece) for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in decoded]
    return result


def class_ranges(pattern):
    """The code points that a regular expression class of the package matches."""
    matcher = pre_tokenizers.Split(Regex(pattern), "isolated")
    ranges = []
    for code_point in range(0x110000):
        if 0xD800 <= code_point < 0xE000 or len(matcher.pre_tokenize_str(chr(code_point) + "\x01")) == 1:
            continue
        if ranges and ranges[-1][1] == code_point - 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return ranges


def as_json(text):
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"hex": text.hex()}


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":"), ensure_ascii=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--smollm2", type=pathlib.Path)
    options = parser.parse_args()

    texts = corpus()
    dump(options.out / "corpus.json", [as_json(text) for text in texts])
    dump(options.out / "unicode_classes.json", {pattern: class_ranges(pattern) for pattern in [r"\p{L}", r"\p{N}", r"\s", UPPER_PART, LOWER_PART]})
    dump(options.out / "pre_tokenizers.json", pre_tokenizer_cases(texts))
    for name, document in small_tokenizers().items():
        dump(options.out / name / "tokenizer.json", document)
        dump(options.out / f"{name}.ids.json", golden(Tokenizer.from_str(json.dumps(document)), texts, True))
    dump(options.out / "small_llama3" / "tokenizer_config.json",
         {"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"},
          "added_tokens_decoder": {"701": added(701, "<|begin|>"), "705": added(705, "<|only_in_config|>")}})
    dump(options.out / "small_r1" / "tokenizer_config.json", r1_config())
    dump(options.out / "small_r1.chat.json", r1_conversations(small_tokenizers()["small_r1"]))
    if options.data:
        for name in ["llama3_1", "qwen2_5", "gptoss"]:
            path = options.data / "tokenizers" / name / "tokenizer.json"
            tokenizer = Tokenizer.from_file(str(path))
            if name == "gptoss":
                check_tiktoken(path, tokenizer, texts)
            dump(options.out / f"{name}.ids.json", golden(tokenizer, texts, False))
    if options.smollm2:
        dump(options.out / "smollm2.ids.json", golden(smollm2_from_gguf(options.smollm2), texts, False))
    print(len(texts), "texts")


if __name__ == "__main__":
    main()
