"""torch through transformers: eager, a loop of our own around the model's forward pass."""

import time

from peers import base, hugging_face


class TorchPeer(base.LibraryPeer):
    name, module = "torch (transformers)", "torch_cpu"
    version = "torch 2.15.0, transformers 4.57.6"
    weights = {"BF16": "BF16 weights and activations, sdpa"}

    def install(self, context):
        hugging_face.install(context)

    def prepare(self, context, model):
        return model.directory

    def python(self, context):
        return hugging_face.python(context)


class Session:
    def __init__(self, model, threads, tests):
        import torch
        import transformers

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16, attn_implementation="sdpa")
        self.model.eval()
        self.vocabulary = self.model.config.vocab_size

    def answer(self, prompts, tokens):
        """Seconds to the first token of all, and from there to the last."""
        with self.torch.inference_mode():
            start = time.perf_counter()
            out = self.model(self.torch.tensor(prompts), use_cache=True, logits_to_keep=1)
            chosen = out.logits[:, -1:].argmax(dim=-1)
            first = time.perf_counter()
            for _ in range(tokens - 1):
                out = self.model(chosen, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
                chosen = out.logits[:, -1:].argmax(dim=-1)
            return first - start, time.perf_counter() - first


PEER = TorchPeer()
