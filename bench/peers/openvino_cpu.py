"""OpenVINO GenAI. On AMX its int8 weights are computed with in bf16; keys and values are 8 bits by default."""

import json
import time

from peers import base, hugging_face

EXPORT = {"Q8_0": ("int8", []), "Q4_0": ("int4", ["--sym", "--group-size", "128", "--ratio", "1.0"])}


class OpenVinoPeer(base.LibraryPeer):
    name, module, version = "OpenVINO GenAI", "openvino_cpu", "openvino-genai 2026.4.1.0"
    weights = {"Q8_0": "int8 weights, a scale per channel", "Q4_0": "int4 symmetric weights in groups of 128, int8 output"}

    def install(self, context):
        hugging_face.install(context, "optimum-intel==1.27.0", "nncf==3.4.0", "openvino==2026.4.1",
                             "openvino-tokenizers==2026.4.1.0", "openvino-genai==2026.4.1.0")

    def prepare(self, context, model):
        weight_format, flags = EXPORT[model.format]

        def convert(out):
            # Of a folder it does not find out the task.
            context.execute([hugging_face.tool(context, "optimum-cli"), "export", "openvino", "--model", model.directory,
                             "--task", "text-generation-with-past", "--weight-format", weight_format, *flags, out],
                            environment=base.OFFLINE)

        return base.once(context, model.directory.with_name(f"{model.directory.name}-openvino-{weight_format}"), convert)

    def python(self, context):
        return hugging_face.python(context)


class Session:
    def __init__(self, model, threads, tests):
        import numpy
        import openvino
        import openvino_genai

        self.numpy, self.openvino, self.genai = numpy, openvino, openvino_genai
        self.pipeline = openvino_genai.LLMPipeline(str(model), "CPU", INFERENCE_NUM_THREADS=threads)
        self.vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]

    def answer(self, prompts, tokens):
        """Seconds to the first token of all, and from there to the last."""
        if len(prompts) > 1:
            # No stream for several sequences: an answer of one token is taken off.
            first = self.generate(prompts, 1)
            return first, self.generate([prompt[::-1] for prompt in prompts], tokens) - first
        ends = []
        genai = self.genai

        class Streamer(genai.StreamerBase):
            def write(self, token):
                """A token, or a list of some."""
                ends.extend([time.perf_counter()] * (len(token) if isinstance(token, list) else 1))
                return genai.StreamingStatus.RUNNING

            def end(self):
                pass

        start = time.perf_counter()
        self.generate(prompts, tokens, Streamer())
        if len(ends) != tokens:
            raise RuntimeError(f"{len(ends)} tokens were streamed, not {tokens}")
        return ends[0] - start, ends[-1] - ends[0]

    def generate(self, prompts, tokens, streamer=None):
        ids = self.numpy.array(prompts, dtype=self.numpy.int64)
        inputs = self.genai.TokenizedInputs(self.openvino.Tensor(ids), self.openvino.Tensor(self.numpy.ones_like(ids)))
        config = self.genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = tokens
        config.ignore_eos, config.do_sample = True, False
        start = time.perf_counter()
        if streamer is None:
            self.pipeline.generate(inputs, config)
        else:
            self.pipeline.generate(inputs, config, streamer)
        return time.perf_counter() - start


PEER = OpenVinoPeer()
