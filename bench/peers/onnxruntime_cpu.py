"""ONNX Runtime GenAI."""

import json
import time

from peers import base, venvs

ENVIRONMENT = "onnxruntime"
PACKAGES = ["torch==2.15.0", "transformers==5.23.0", "onnx==1.23.2", "onnx-ir==1.1.0", "onnxruntime==1.31.1",
            "onnxruntime-genai==0.18.0"]  # the builder imports what only transformers 5 has


class OnnxRuntimePeer(base.LibraryPeer):
    name, module, version = "ONNX Runtime GenAI", "onnxruntime_cpu", "onnxruntime-genai 0.18.0, onnxruntime 1.31.1"
    weights = {"Q4_0": "int4 weights in groups of 32"}

    def install(self, context):
        venvs.install(context, ENVIRONMENT, PACKAGES)

    def prepare(self, context, model):
        def convert(out):
            context.execute([self.python(context), "-m", "onnxruntime_genai.models.builder", "-i", model.directory, "-o", out,
                             "-p", "int4", "-e", "cpu", "-c", context.work / "onnx-cache", "--extra_options",
                             "hf_token=false"], environment=base.OFFLINE)

        return base.once(context, model.directory.with_name(f"{model.directory.name}-onnx-int4"), convert)

    def python(self, context):
        return venvs.require(context, ENVIRONMENT)


def set_threads(path, threads):
    """genai_config.json is the only place for them. Returns the size of the vocabulary."""
    config = json.loads(path.read_text())
    config["model"]["decoder"].setdefault("session_options", {})["intra_op_num_threads"] = threads
    path.write_text(json.dumps(config, indent=4))
    return config["model"]["vocab_size"]


class Session:
    def __init__(self, model, threads, tests):
        import numpy
        import onnxruntime_genai

        self.numpy, self.genai = numpy, onnxruntime_genai
        self.vocabulary = set_threads(model / "genai_config.json", threads)
        self.model = onnxruntime_genai.Model(str(model))

    def answer(self, prompts, tokens):
        """Seconds to the first token of all, and from there to the last."""
        length = len(prompts[0]) + tokens
        params = self.genai.GeneratorParams(self.model)
        # No end before the length: min_length forbids the token that ends.
        params.set_search_options(do_sample=False, batch_size=len(prompts), max_length=length, min_length=length)
        generator = self.genai.Generator(self.model, params)
        ids = self.numpy.array(prompts, dtype=self.numpy.int32)
        start = time.perf_counter()
        generator.append_tokens(ids if len(prompts) > 1 else ids[0])
        generator.generate_next_token()
        first = time.perf_counter()
        for _ in range(tokens - 1):
            generator.generate_next_token()
        return first - start, time.perf_counter() - first


PEER = OnnxRuntimePeer()
