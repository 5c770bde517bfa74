"""The decoding loops of masked diffusion models at temperature 0, written plainly as goldens.

Dream 7B's diffusion_generate (generation_utils.py), and Fast-dLLM v1 (arXiv 2505.22618):
confidence-aware parallel decoding without a cache, and block-wise decoding with the prefix and the
dual cache. One canvas; ties would go to the lowest position, but near-ties are refused: another
implementation's rounding would decide them. Needs torch.
"""

import torch

SMALLEST_GAP = 2e-5  # between what is decided and what is not, in units of confidence


def shift(raw):
    """Row j - 1 of the network's output predicts position j."""
    return torch.cat([raw[:1], raw[:-1]])


def confidences(logits, algorithm):
    """(tokens, confidence) of rows [M, V]."""
    p = torch.softmax(logits, dim=-1)
    best, tokens = p.max(dim=-1)
    if algorithm == "topk_margin":
        two = p.topk(2, dim=-1).values
        return tokens, two[:, 0] - two[:, 1]
    if algorithm == "entropy":
        return tokens, (p * torch.log(p + 1e-10)).sum(dim=-1)
    return tokens, best


def require_clear_token(logits, mask_id):
    """The token that is decided, from its row [V], must not depend on rounding."""
    two = torch.softmax(logits, dim=-1).topk(2)
    if two.values[0] - two.values[1] < SMALLEST_GAP:
        raise ValueError("two tokens are nearly as probable: choose another seed")
    if int(two.indices[0]) == mask_id:
        raise ValueError("the model predicts its own mask: choose another seed")


def require_clear_order(confidence, count):
    """The `count` best must not depend on rounding."""
    ordered = confidence.sort(descending=True).values
    if 0 < count < len(ordered) and ordered[count - 1] - ordered[count] < SMALLEST_GAP:
        raise ValueError("two positions are nearly as sure: choose another seed")


def require_clear_threshold(confidence, threshold):
    if (confidence - threshold).abs().min() < SMALLEST_GAP:
        raise ValueError("a confidence is close to the threshold: choose another seed")


def masked_positions(x, mask_id):
    return [j for j, token in enumerate(x) if token == mask_id]


def schedule(network, prompt, new_tokens, mask_id, algorithm, steps, eps):
    """(ids [N], history [steps][N], decided [steps]); network(ids) gives raw logits [N, V]."""
    x = list(prompt) + [mask_id] * new_tokens
    time = torch.linspace(1, eps, steps + 1)
    history, decided = [], []
    for i in range(steps):
        masked = masked_positions(x, mask_id)
        logits = shift(network(x))[masked]
        tokens, confidence = confidences(logits, algorithm)
        share = 1 - time[i + 1] / time[i]
        count = int(len(masked) * share) if i < steps - 1 else len(masked)
        if count > 0:
            require_clear_order(confidence, count)
            for j in confidence.topk(count).indices.tolist():
                require_clear_token(logits[j], mask_id)
                x[masked[j]] = int(tokens[j])
        history.append(list(x))
        decided.append(count)
    return x, history, decided


def parallel(network, prompt, new_tokens, mask_id, steps, threshold):
    """Without a cache: (ids [N], forward passes)."""
    x = list(prompt) + [mask_id] * new_tokens
    assert new_tokens % steps == 0
    per_step, left, passes, i = new_tokens // steps, 0, 0, 0
    while i < steps:
        masked = masked_positions(x, mask_id)
        logits = shift(network(x))[masked]
        passes += 1
        tokens, confidence = confidences(logits, "maskgit_plus")
        require_clear_threshold(confidence, threshold)
        count, left = per_step + left, 0
        require_clear_order(confidence, count)
        best = confidence.topk(count)
        for rank in range(count):
            j = int(best.indices[rank])
            if rank == 0 or best.values[rank] >= threshold:
                require_clear_token(logits[j], mask_id)
                x[masked[j]] = int(tokens[j])
                continue
            left += 1
            if i == steps - 1:
                per_step, steps = 0, steps + 1
        i += 1
    return x, passes


def blocks(cached, prompt, new_tokens, mask_id, block_length, threshold, cache):
    """Block by block: (ids [N], forward passes). `cached` is a CachedNetwork; `cache` is prefix, dual,
    or refreshed: dual, with keys and values of the whole canvas computed anew by every pass."""
    x = list(prompt) + [mask_id] * new_tokens
    passes = 0
    for begin in range(len(prompt), len(x), block_length):
        end = min(begin + block_length, len(x))
        logits = shift(cached.whole(x))
        passes += 1
        tokens, _ = confidences(logits[begin : begin + 1], "maskgit_plus")
        require_clear_token(logits[begin], mask_id)
        x[begin] = int(tokens[0])
        while mask_id in x[begin:end]:
            if cache == "prefix":
                raw = cached.behind(x[begin:], begin)
            elif cache == "dual":
                raw = cached.replaced(x[begin:end], begin)
            else:
                raw = cached.whole(x)[begin:end]
            passes += 1
            masked = masked_positions(x[begin:end], mask_id)
            logits = shift(raw)[masked]
            tokens, confidence = confidences(logits, "maskgit_plus")
            require_clear_threshold(confidence, threshold)
            require_clear_order(confidence, 1)
            best = int(confidence.argmax())
            for j, position in enumerate(masked):
                if j == best or confidence[j] >= threshold:
                    require_clear_token(logits[j], mask_id)
                    x[begin + position] = int(tokens[j])
    return x, passes


class CachedNetwork:
    """A Qwen2 of transformers under a full mask, with keys and values of every layer in hand."""

    def __init__(self, network):
        self.network, self.keys, self.values = network, {}, {}

    def whole(self, x):
        """All positions; remembers their keys and values."""
        return self._run(x, 0, keep=True)

    def behind(self, x, begin):
        """Positions from `begin` to the end beside the keys before them; remembers nothing."""
        return self._run(x, begin, keep=False)

    def replaced(self, x, begin):
        """Positions of a block; their keys and values take the place of the old ones."""
        return self._run(x, begin, keep=True)

    def _run(self, x, begin, keep):
        from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

        model = self.network.model
        h = model.embed_tokens(torch.tensor([x]))
        positions = torch.arange(begin, begin + len(x))[None]
        cos, sin = model.rotary_emb(h, positions)
        for i, layer in enumerate(model.layers):
            attention, size = layer.self_attn, layer.self_attn.head_dim
            normed = layer.input_layernorm(h)
            q, k, v = (
                projection(normed).view(1, len(x), -1, size).transpose(1, 2)
                for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            q, k = apply_rotary_pos_emb(q, k, cos, sin)
            k, v = self._with_cached(i, k, v, begin, keep)
            group = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            p = torch.softmax(q @ k.transpose(2, 3) / size**0.5, dim=-1)
            mixed = (p @ v).transpose(1, 2).reshape(1, len(x), -1)
            h = h + attention.o_proj(mixed)
            h = h + layer.mlp(layer.post_attention_layernorm(h))
        return self.network.lm_head(model.norm(h))[0]

    def _with_cached(self, layer, k, v, begin, keep):
        """Keys and values of all positions, those of this pass in their places."""
        end = begin + k.shape[2]
        if begin > 0:
            old_k, old_v = self.keys[layer], self.values[layer]
            k = torch.cat([old_k[:, :, :begin], k, old_k[:, :, end:]], dim=2)
            v = torch.cat([old_v[:, :, :begin], v, old_v[:, :, end:]], dim=2)
        if keep:
            self.keys[layer], self.values[layer] = k, v
        return k, v
