"""CTranslate2. Asked for int8_bfloat16 it computes as int8_float32 where it has nothing better."""

import json
import time

from peers import base, hugging_face


class CTranslatePeer(base.LibraryPeer):
    name, module, version = "CTranslate2", "ctranslate", "ctranslate2 4.8.5"
    weights = {"Q8_0": "int8 weights, a scale per channel; int8 activations"}

    def install(self, context):
        hugging_face.install(context, "ctranslate2==4.8.5")

    def prepare(self, context, model):
        def convert(out):
            context.execute([hugging_face.tool(context, "ct2-transformers-converter"), "--model", model.directory,
                             "--output_dir", out, "--quantization", "int8_bfloat16"], environment=base.OFFLINE)

        return base.once(context, model.directory.with_name(f"{model.directory.name}-ctranslate2-int8"), convert)

    def python(self, context):
        return hugging_face.python(context)


class Session:
    def __init__(self, model, threads, tests):
        import ctranslate2

        self.generator = ctranslate2.Generator(str(model), device="cpu", compute_type="int8_bfloat16", inter_threads=1,
                                               intra_threads=threads)
        print(f"computes as {self.generator.compute_type}")
        self.tokens = json.loads((model / "vocabulary.json").read_text(encoding="utf-8"))
        self.vocabulary = len(self.tokens)

    def answer(self, prompts, tokens):
        """Seconds to the first token of all, and from there to the last."""
        ends = {}  # by step: when its last sequence had its token

        def note(result):
            ends[result.step] = time.perf_counter()
            return False  # true would end the sequence

        start = time.perf_counter()
        self.generator.generate_batch([[self.tokens[token] for token in prompt] for prompt in prompts], beam_size=1,
                                      sampling_topk=1, max_length=tokens, min_length=tokens, include_prompt_in_result=False,
                                      callback=note)
        steps = sorted(ends)
        if len(steps) != tokens:
            raise RuntimeError(f"{len(steps)} steps were noted, not {tokens}")
        return ends[steps[0]] - start, ends[steps[-1]] - ends[steps[0]]


PEER = CTranslatePeer()
