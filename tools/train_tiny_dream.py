#!/usr/bin/env python3
"""Trains a tiny masked diffusion model of Dream's architecture on a text, and writes it as a Hugging Face directory.

    pip install torch safetensors tokenizers numpy
    tools/train_tiny_dream.py OUT [--text FILE] [--minutes 25]
    dunlin run OUT --raw "The maintainer of a package must" -n 48 --alg entropy
    bench/diffusion_accuracy OUT

Without --text: policy.txt of Debian's package debian-policy (/usr/share/doc, or fetched with apt-get). Any text of some 100 KB
will do; the last --held-out of it is not trained on. OUT gets config.json, model.safetensors (BF16), tokenizer.json (byte-level
BPE, trained here) and corpus.json: the ids of both parts, for bench/diffusion_accuracy.

Network: Qwen2's block without a mask, as src/models/dream.cpp; row j - 1 predicts position j. Loss (MDLM, arXiv 2406.07524;
LLaDA, arXiv 2502.09992): of a sequence each token is masked with probability t, t uniform in (0, 1); cross-entropy of the
masked ones, weighted by 1 / t. Half of the sequences keep a prefix unmasked, as a prompt is. With the same seed, threads and
number of steps the same model comes out; --minutes ends the training by the clock, --steps by count.
"""

import argparse
import gzip
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

END, MASK = "<|endoftext|>", "<|mask|>"


# ---------------------------------------------------------------------------------------------------- text


def policy_text():
    """policy.txt of debian-policy, installed or fetched."""
    installed = pathlib.Path("/usr/share/doc/debian-policy/policy.txt.gz")
    if installed.exists():
        return gzip.decompress(installed.read_bytes()).decode()
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["apt-get", "download", "debian-policy"], cwd=folder, check=True, capture_output=True)
            (package,) = pathlib.Path(folder).glob("debian-policy_*.deb")
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, capture_output=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"error: debian-policy can be neither read nor fetched ({error}); --text FILE names another text")
        return gzip.decompress((pathlib.Path(folder) / "usr/share/doc/debian-policy/policy.txt.gz").read_bytes()).decode()


def train_tokenizer(text, vocabulary):
    """Byte-level BPE in the form of GPT-2, digits one by one; the last two ids are special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - 2, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.add_special_tokens([AddedToken(END, special=True), AddedToken(MASK, special=True)])
    return tokenizer


# ---------------------------------------------------------------------------------------------------- network


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, self.heads, self.kv_heads = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
        self.dim = width // self.heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, self.kv_heads * self.dim)
        self.v_proj = nn.Linear(width, self.kv_heads * self.dim)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, cos, sin):
        batch, rows, width = x.shape

        def heads(values, count):
            return values.view(batch, rows, count, self.dim).transpose(1, 2)

        def rotate(values):  # pairs (i, i + dim / 2)
            first, second = values.chunk(2, -1)
            return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

        group = self.heads // self.kv_heads
        q = rotate(heads(self.q_proj(x), self.heads))
        k = rotate(heads(self.k_proj(x), self.kv_heads)).repeat_interleave(group, 1)
        v = heads(self.v_proj(x), self.kv_heads).repeat_interleave(group, 1)
        attended = F.scaled_dot_product_attention(q, k, v)  # every position sees all
        return self.o_proj(attended.transpose(1, 2).reshape(batch, rows, width))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config["hidden_size"], config["rms_norm_eps"]
        self.input_layernorm, self.self_attn = RmsNorm(width, eps), Attention(config)
        self.post_attention_layernorm, self.mlp = RmsNorm(width, eps), Mlp(config)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Inner(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RmsNorm(config["hidden_size"], config["rms_norm_eps"])


class Dream(nn.Module):
    """Parameters have the names of the published checkpoints."""

    def __init__(self, config):
        super().__init__()
        self.model = Inner(config)
        self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        dim = config["hidden_size"] // config["num_attention_heads"]
        self.inverse = config["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config["num_hidden_layers"]))
            elif parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids):
        """Logits [batch, rows, vocabulary] that predict each row's own position: shifted by one."""
        angles = torch.arange(ids.shape[1], dtype=torch.float32)[:, None] * self.inverse
        cos, sin = angles.cos(), angles.sin()
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        raw = self.lm_head(self.model.norm(x))
        return torch.cat((raw[:, :1], raw[:, :-1]), 1)


# ---------------------------------------------------------------------------------------------------- training


def batch_of(ids, mask_id, options, generator):
    """Windows of the text, their masked form, and the weight 1 / t of each masked token (0 where nothing is masked)."""
    starts = generator.integers(0, len(ids) - options.window, options.batch)
    clean = torch.from_numpy(np.stack([ids[start : start + options.window] for start in starts]))
    # Times spread evenly over the batch: less variance than independent ones.
    times = (generator.random() + np.arange(options.batch) / options.batch) % 1.0
    times = np.maximum(times, 0.02)[:, None]
    masked = generator.random((options.batch, options.window)) < times
    prefix = np.where(generator.random(options.batch) < 0.5, generator.integers(1, options.window, options.batch), 1)
    masked &= np.arange(options.window)[None, :] >= prefix[:, None]  # the first position has no row before it
    weights = torch.from_numpy((masked / times).astype(np.float32))
    return clean, torch.where(torch.from_numpy(masked), mask_id, clean), weights


def loss_of(model, clean, noisy, weights):
    logits = model(noisy)
    chosen = weights > 0
    losses = F.cross_entropy(logits[chosen].float(), clean[chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.numel()


def learning_rate(progress, peak):
    """Rises over the first 3 %, then falls along a cosine to a tenth."""
    if progress < 0.03:
        return peak * progress / 0.03
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(model, ids, held_out, mask_id, options):
    generator = np.random.Generator(np.random.PCG64(options.seed))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": options.decay}, {"params": others, "weight_decay": 0.0}],
                                  lr=options.rate, betas=(0.9, 0.98))
    start = shown = time.monotonic()
    step, progress, recent = 0, 0.0, []
    while progress < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, options.rate)
        loss = loss_of(model, *batch_of(ids, mask_id, options, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        step += 1
        elapsed = time.monotonic() - start
        progress = step / options.steps if options.steps else elapsed / (60 * options.minutes)
        if time.monotonic() - shown > 20 or progress >= 1.0:
            shown = time.monotonic()
            print(f"step {step}, {elapsed / 60:.1f} min, loss {np.mean(recent[-200:]):.3f} nats per token, held out "
                  f"{held_out_loss(model, held_out, mask_id, options):.3f}", flush=True)
    return step


@torch.no_grad()
def held_out_loss(model, ids, mask_id, options):
    generator = np.random.Generator(np.random.PCG64(1))
    return float(np.mean([loss_of(model, *batch_of(ids, mask_id, options, generator)).item() for _ in range(4)]))


# ---------------------------------------------------------------------------------------------------- files


def make_config(options, end_id, mask_id):
    return {
        "architectures": ["DreamModel"],
        "model_type": "Dream",
        "hidden_size": options.width,
        "intermediate_size": options.inner,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "num_key_value_heads": options.kv_heads,
        "vocab_size": options.vocabulary,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "bos_token_id": end_id,
        "eos_token_id": end_id,
        "pad_token_id": end_id,
        "mask_token_id": mask_id,
        "torch_dtype": "bfloat16",
    }


def write(out, model, config, tokenizer, corpus):
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "corpus.json").write_text(json.dumps(corpus))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, help="a text file, or one that gzip has packed")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--steps", type=int, help="instead of --minutes: reproducible")
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the text")
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--inner", type=int, default=704)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--window", type=int, default=160)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.minutes <= 0 or (options.steps is not None and options.steps < 1):
        parser.error("--minutes and --steps: more than 0")
    if not 0 < options.held_out < 1:
        parser.error(f"--held-out: {options.held_out} is no share between 0 and 1")
    if options.width % options.heads or options.heads % options.kv_heads or options.width // options.heads % 2:
        parser.error("--width: an even number for each of --heads, which are a multiple of --kv-heads")
    return options


def main():
    options = parse_arguments()
    try:  # before half an hour of training
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"error: {options.out}: {error.strerror}")
    if options.text is None:
        text = policy_text()
    else:
        try:
            data = options.text.read_bytes()
            text = (gzip.decompress(data) if options.text.suffix == ".gz" else data).decode(errors="replace")
        except OSError as error:
            sys.exit(f"error: {options.text}: {error}")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    # Neither the tokenizer nor the model sees what is held out.
    split = int(len(text) * (1 - options.held_out))
    tokenizer = train_tokenizer(text[:split], options.vocabulary)
    train_ids = np.array(tokenizer.encode(text[:split], add_special_tokens=False).ids, dtype=np.int64)
    held_out = np.array(tokenizer.encode(text[split:], add_special_tokens=False).ids, dtype=np.int64)
    if tokenizer.get_vocab_size() != options.vocabulary:
        sys.exit(f"error: the text gives {tokenizer.get_vocab_size()} tokens; --vocabulary at most so many")
    if min(len(train_ids), len(held_out)) <= 2 * options.window:
        sys.exit(f"error: {len(train_ids)} and {len(held_out)} tokens are too few for windows of {options.window}")
    end_id, mask_id = tokenizer.token_to_id(END), tokenizer.token_to_id(MASK)
    config = make_config(options, end_id, mask_id)
    model = Dream(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count / 1e6:.2f} M parameters, {len(train_ids)} tokens to train on, {len(held_out)} held out, "
          f"{torch.get_num_threads()} threads", flush=True)
    steps = train(model, train_ids, held_out, mask_id, options)
    corpus = {"schema_version": 1, "mask_id": mask_id, "steps": steps, "train": train_ids.tolist(),
              "held_out": held_out.tolist()}
    write(options.out, model, config, tokenizer, corpus)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
