#!/usr/bin/env python3
"""Writes tests/formats/data/formats.bin: blocks with the values that PyPI gguf decodes, and values with its encoding.

    pip install -r tools/requirements.txt
    python tools/make_format_goldens.py tests/formats/data/formats.bin

One record per format, all integers uint32, little-endian: length of the name, name, elements, bytes, blocks,
decoded float32[elements]; then the same for the encoder: elements (0 where gguf does not quantise), bytes, blocks, values.
"""

import argparse
import pathlib
import struct

import gguf
import numpy as np

Q = gguf.GGMLQuantizationType
BLOCKS = 24
HALF_FIELDS = {  # where a block keeps F16 numbers
    Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82], Q.Q3_K: [108],
    Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.MXFP4: [],
}
SUPER_BLOCKS = (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K)  # gguf does not quantise to these
HALF_EDGES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]


def random_halves(random, count, low, high):
    """float16 bits with exponents spread over 2**low..2**high, either sign."""
    values = np.exp2(random.uniform(low, high, count)) * random.choice([-1, 1], count)
    return values.astype(np.float16).view(np.uint16)


def float_blocks(random, qtype):
    if qtype == Q.F32:
        bits = random.integers(0, 2**32, 1024, dtype=np.uint32)
        bits[:6] = [0, 0x80000000, 1, 0x7F800000, 0xFF800000, 0x7FC00000]
        return bits.view(np.uint8)
    bits = random.integers(0, 2**16, 2048, dtype=np.uint16)
    bits[: len(HALF_EDGES)] = HALF_EDGES
    if qtype == Q.BF16:
        bits[len(HALF_EDGES) : len(HALF_EDGES) + 6] = [0x7F80, 0xFF80, 0x7FC0, 0x0080, 0x007F, 0x7F7F]
    return bits.view(np.uint8)


def integer_blocks(random, qtype):
    """Random blocks whose F16 fields are finite; the first ones hold the edges of scale and code."""
    _, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    fields = HALF_FIELDS[qtype]
    halves = {at: random_halves(random, BLOCKS, -12, 4) for at in fields}
    blocks[0] = 0  # all zero
    blocks[1] = 0xFF  # largest codes and scales
    if qtype == Q.MXFP4:  # all exponents at the ends, where values are denormal or infinite
        blocks[:, 0] = random.integers(100, 140, BLOCKS)
        blocks[:10, 0] = [0, 1, 2, 3, 127, 128, 252, 253, 254, 255]
    for edge, bits in enumerate([0x0000, 0x3C00, 0x8000, 0x0001, 0x8001, 0x03FF, 0x7BFF, 0xFBFF]):
        for at in fields:
            halves[at][edge] = bits
    for at in fields:
        blocks[:, at : at + 2] = halves[at].view(np.uint8).reshape(-1, 2)
    return blocks.reshape(-1)


def encoder_values(random, qtype):
    """Values over many magnitudes; integer formats also get constant, tied, tiny and huge blocks."""
    block, _ = gguf.GGML_QUANT_SIZES[qtype]
    if block == 1:
        values = (np.exp2(random.uniform(-30, 20, 1024)) * random.choice([-1, 1], 1024)).astype(np.float32)
        ties = np.array([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 2**-25, 3 * 2**-25, 65519.99, 65520])
        special = np.array([0.0, -0.0, np.inf, -np.inf, 1e38, -1e38, 1e-45, 2**-24, 2**-14], np.float32)
        return np.concatenate([values, ties.astype(np.float32), special])
    values = random.standard_normal((BLOCKS, block)).astype(np.float32)
    values *= np.exp2(random.uniform(-10, 6, (BLOCKS, 1))).astype(np.float32)
    values[0] = 0.0
    values[1] = 1.0
    values[2] = -3.5
    values[3] = np.arange(block) - block / 2  # many ties, the largest magnitude negative
    values[4] = block / 2 - np.arange(block)
    values[5] *= 1e-9 / np.abs(values[5]).max()  # the scale rounds to zero in F16
    values[6] *= 6e5 / np.abs(values[6]).max()  # the scale is near F16's largest number
    values[7, 0], values[7, 1] = 9.0, -9.0  # two largest magnitudes
    return values.reshape(-1)


def record(random, qtype):
    blocks = float_blocks(random, qtype) if gguf.GGML_QUANT_SIZES[qtype][0] == 1 else integer_blocks(random, qtype)
    with np.errstate(all="ignore"):
        decoded = gguf.quants.dequantize(blocks, qtype).astype(np.float32)
        if qtype in SUPER_BLOCKS:
            values, encoded = np.empty(0, np.float32), np.empty(0, np.uint8)
        else:
            values = encoder_values(random, qtype)
            encoded = np.ascontiguousarray(gguf.quants.quantize(values, qtype)).view(np.uint8)
    name = qtype.name.encode()
    parts = [struct.pack("<I", len(name)), name]
    for array, data in ((decoded, blocks), (values, encoded)):
        parts.append(struct.pack("<II", array.size, data.nbytes))
        parts += [data.tobytes(), array.tobytes()]
    return b"".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    random = np.random.default_rng(20)
    types = [Q.F32, Q.F16, Q.BF16, *HALF_FIELDS]
    arguments.out.write_bytes(b"".join(record(random, qtype) for qtype in types))


if __name__ == "__main__":
    main()
