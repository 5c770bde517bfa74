#!/usr/bin/env python3
"""Shows that transformers reads the Hugging Face directories that `dunlin quantize` and `dunlin convert` write.

They hold int8 and FP8 with a scale per row (compressed-tensors), FP8 in blocks of 128 x 128 (as DeepSeek publishes), and
MXFP4 of GPT-OSS.

    pip install torch==2.15.0 transformers==5.24.0 compressed-tensors==0.20.0 accelerate==1.15.0 safetensors==0.8.0
    tools/check_quantized_directory.py build/release/bin/dunlin
    tools/check_quantized_directory.py build/release/bin/dunlin --model path/to/llama --types I8

For each type, of a small random model or of --model:

  weights   what transformers makes of the directory, against element * scale computed here as published
  logits    transformers' with those weights, against those of the same weights in a plain model
  engine    `dunlin verify` on the directory, against the logits of the plain model

MXFP4 goes from tests/data/gpt_oss_mxfp4 to a GGUF file and back; transformers must read the same weights from both
directories. No GPU and no network is needed."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIXTURE = ROOT / "tests/data/gpt_oss_mxfp4/model"
PROMPT = 24
BLOCK = 128
# transformers may round dequantised weights of FP8 blocks to bf16: half of the last of 8 bits.
WEIGHT_TOLERANCE = {"I8": 0.0, "F8_E4M3": 0.0, "F8_E4M3_B128": 2.0**-8}
LOGIT_TOLERANCE = {"I8": 1e-4, "F8_E4M3": 1e-4, "F8_E4M3_B128": 2e-2}  # of the largest logit


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def random_model(folder):
    """Whole blocks of 128 in every matrix, for transformers dequantises no others."""
    torch.manual_seed(11)
    config = transformers.LlamaConfig(hidden_size=256, intermediate_size=640, num_hidden_layers=2,
                                      num_attention_heads=4, num_key_value_heads=2, head_dim=64, vocab_size=160,
                                      max_position_embeddings=128, tie_word_embeddings=False, initializer_range=0.1,
                                      bos_token_id=1, eos_token_id=2)
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def stored_tensors(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(path))
    return tensors


def dequantised(folder):
    """float32 weights by name: elements times the scale of their row (compressed-tensors) or block (DeepSeek's
    weight_dequant, where weight_scale_inv is what multiplies)."""
    tensors = stored_tensors(folder)
    weights = {}
    for name, tensor in tensors.items():
        if name.endswith(("_scale", "_scale_inv")):
            continue
        value = tensor.float()
        if (scales := tensors.get(name + "_scale")) is not None:
            value = value * scales.float()
        elif (scales := tensors.get(name + "_scale_inv")) is not None:
            grid = scales.float().repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
            value = value * grid[: value.shape[0], : value.shape[1]]
        weights[name] = value
    return weights


def plain_model(folder, weights):
    config = transformers.AutoConfig.from_pretrained(folder)
    del config.quantization_config
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if config.tie_word_embeddings:
        missing = [name for name in missing if name != "lm_head.weight"]
        model.tie_weights()
    if missing or unexpected:
        sys.exit(f"{folder}: the model lacks {missing} and has {unexpected} too many")
    return model


def read_by_transformers(folder):
    """The weights in float32, whatever the directory has."""
    quantization = json.loads((folder / "config.json").read_text())["quantization_config"]
    method = quantization["quant_method"]
    if method == "compressed-tensors":
        config = transformers.CompressedTensorsConfig(dequantize=True)
    elif method == "fp8":
        config = transformers.FineGrainedFP8Config(dequantize=True,
                                                   modules_to_not_convert=quantization["modules_to_not_convert"])
    else:
        config = transformers.Mxfp4Config(dequantize=True)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                             quantization_config=config).float().eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids[None]).logits[0].float()


def largest_difference(ours, theirs):
    """Of all weights, as a part of the largest number of each."""
    worst = (0.0, "")
    for name, value in ours.items():
        difference = (theirs[name].float() - value).abs().max() / value.abs().max().clamp_min(1e-30)
        worst = max(worst, (difference.item(), name))
    return worst


def engine_difference(dunlin, folder, ids, logits, work):
    """What `dunlin verify` finds between the engine and these logits, and whether it is within its tolerance."""
    reference = work / "reference.safetensors"
    save_file({"input_ids": ids.to(torch.int32), "logits": logits.contiguous()}, reference)
    done = subprocess.run([dunlin, "verify", str(folder), str(reference), "--precision", "f32", "--json"],
                          capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        sys.exit(f"dunlin verify {folder}: exit code {done.returncode}\n{done.stderr}")
    report = json.loads(done.stdout)
    return report["max_abs_diff"], report["pass"]


def check_type(dunlin, model, kind, work):
    folder = work / kind
    run(dunlin, "quantize", model, folder, kind)
    weights = dequantised(folder)
    plain = plain_model(folder, weights)
    theirs = read_by_transformers(folder)
    ids = torch.randint(3, plain.config.vocab_size, (PROMPT,), generator=torch.Generator().manual_seed(5))
    logits = logits_of(plain, ids)
    weight, name = largest_difference(weights, dict(theirs.state_dict()))
    logit = ((logits_of(theirs, ids) - logits).abs().max() / logits.abs().max()).item()
    engine, passed = engine_difference(dunlin, folder, ids, logits, work)
    good = weight <= WEIGHT_TOLERANCE[kind] and logit <= LOGIT_TOLERANCE[kind] and passed
    print(f"{kind:13} weights {weight:.2e} of {WEIGHT_TOLERANCE[kind]:.2e} ({name}), logits {logit:.2e} of "
          f"{LOGIT_TOLERANCE[kind]:.2e}, engine {engine:.2e}: {'ok' if good else 'FAIL'}")
    return good


def check_mixture(dunlin, work):
    gguf, folder = work / "mixture.gguf", work / "mixture"
    run(dunlin, "convert", MIXTURE, gguf)
    run(dunlin, "convert", gguf, folder)
    before, after = read_by_transformers(MIXTURE).state_dict(), read_by_transformers(folder).state_dict()
    different = sorted(set(before) ^ set(after)) + [name for name in before
                                                    if name in after and not torch.equal(before[name], after[name])]
    verdict = f"FAIL: {', '.join(different)}" if different else "ok"
    print(f"MXFP4         {len(before)} weights there and back: {verdict}")
    return not different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dunlin", help="the binary")
    parser.add_argument("--model", type=pathlib.Path, help="a Llama or Qwen2 directory in BF16, F16 or F32")
    parser.add_argument("--types", nargs="+", default=[*WEIGHT_TOLERANCE, "MXFP4"], metavar="TYPE",
                        choices=[*WEIGHT_TOLERANCE, "MXFP4"], help="I8, F8_E4M3, F8_E4M3_B128, MXFP4; all by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        model = arguments.model or random_model(work / "model")
        results = [check_mixture(arguments.dunlin, work) if kind == "MXFP4"
                   else check_type(arguments.dunlin, model, kind, work) for kind in arguments.types]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
