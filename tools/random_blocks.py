"""Random matrices in every format, made directly as blocks: fast enough for models of many gigabytes.

A matrix [out, in] has values of mean 0 and variance 1 / in. Integer formats take uniformly random codes and choose the
block scale from their variance: a uniform code q of 2^b values has mean (2^b - 1) / 2 and variance (2^2b - 1) / 12.
Needs tools/requirements.txt.
"""

import math

import gguf
import numpy as np

import model_files

Q = gguf.GGMLQuantizationType
PIECE = 1 << 24  # elements generated at a time


def float_bytes(values, qtype):
    """float32 values as F32, F16 or BF16 bytes; BF16 is rounded to nearest even."""
    if qtype == Q.F32:
        return values.view(np.uint8)
    if qtype == Q.F16:
        return values.astype(np.float16).view(np.uint8)
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).view(np.uint8)


def half_field(generator, count, scale):
    """[count, 2] bytes: F16 scales spread over +-20 % around `scale`."""
    values = (scale * generator.uniform(0.8, 1.2, count)).astype(np.float16)
    return values.view(np.uint8).reshape(count, 2)


def uniform_deviation(codes):
    return math.sqrt((codes * codes - 1) / 12)


def symmetric_scale(generator, count, deviation, codes):
    """Scales of random sign, so that the mean is 0 although the mean of codes -n .. n - 1 is -0.5."""
    signs = generator.choice(np.array([-1.0, 1.0]), count)
    return half_field(generator, count, signs * deviation / math.sqrt(uniform_deviation(codes) ** 2 + 0.25))


def fill_scale_and_min(generator, blocks, deviation, codes):
    """Scale and minimum of bytes 0-3; the minimum puts the middle code at 0."""
    scale = half_field(generator, len(blocks), deviation / uniform_deviation(codes))
    blocks[:, 0:2] = scale
    blocks[:, 2:4] = scaled_field(scale, -(codes - 1) / 2)


def scaled_field(field, factor):
    """The F16 numbers of a field of two bytes, times `factor`."""
    values = factor * np.ascontiguousarray(field).view(np.float16).astype(np.float32)
    return values.astype(np.float16).view(np.uint8).reshape(-1, 2)


def integer_blocks(generator, count, deviation, qtype):
    """`count` random blocks of values with standard deviation `deviation`."""
    _, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = np.frombuffer(generator.bytes(count * size), np.uint8).reshape(count, size).copy()
    if qtype in (Q.Q4_0, Q.Q5_0):
        blocks[:, 0:2] = symmetric_scale(generator, count, deviation, 16 if qtype == Q.Q4_0 else 32)
    elif qtype == Q.Q8_0:
        blocks[:, 0:2] = half_field(generator, count, deviation / uniform_deviation(256))
    elif qtype in (Q.Q4_1, Q.Q5_1):
        fill_scale_and_min(generator, blocks, deviation, 16 if qtype == Q.Q4_1 else 32)
    elif qtype == Q.Q2_K:  # s = m in 8..15, mean square 137.5
        scales = generator.integers(8, 16, (count, 16), dtype=np.uint8)
        blocks[:, 0:16] = scales | scales << 4
        blocks[:, 80:82] = half_field(generator, count, deviation / (math.sqrt(137.5) * uniform_deviation(4)))
        blocks[:, 82:84] = scaled_field(blocks[:, 80:82], 1.5)
    elif qtype == Q.Q3_K:
        fill_q3_k(generator, blocks, deviation)
    elif qtype in (Q.Q4_K, Q.Q5_K):
        fill_six_bit_scales(generator, blocks, deviation, 16 if qtype == Q.Q4_K else 32)
    elif qtype == Q.Q6_K:  # group scales 32..63 of random sign, mean square 2341.5
        scales = generator.integers(32, 64, (count, 16), dtype=np.int8)
        blocks[:, 192:208] = np.where(blocks[:, 192:208] < 128, scales, -scales).view(np.uint8)
        blocks[:, 208:210] = half_field(generator, count, deviation / (math.sqrt(2341.5) * uniform_deviation(64)))
    elif qtype == Q.MXFP4:  # mean square of the elements 8.5625
        exponent = round(math.log2(deviation / math.sqrt(8.5625))) + 127
        blocks[:, 0] = np.clip(exponent + generator.integers(-1, 2, count), 0, 254)
    return blocks


def fill_q3_k(generator, blocks, deviation):
    """Sixteen six-bit scales s - 32 of magnitude 16..31 and random sign, mean square 573.5."""
    count = len(blocks)
    scales = generator.integers(16, 32, (count, 16)) * generator.choice(np.array([-1, 1]), (count, 16)) + 32
    low, high = scales & 15, scales >> 4
    blocks[:, 96:104] = low[:, :8] | low[:, 8:] << 4
    blocks[:, 104:108] = high[:, 0:4] | high[:, 4:8] << 2 | high[:, 8:12] << 4 | high[:, 12:16] << 6
    spread = math.sqrt(573.5 * (uniform_deviation(8) ** 2 + 0.25))
    blocks[:, 108:110] = half_field(generator, count, deviation / spread)


def fill_six_bit_scales(generator, blocks, deviation, codes):
    """Eight six-bit scales s in 32..63 per block with the minimum m = s and dmin = d times the middle code."""
    count = len(blocks)
    scales = generator.integers(32, 64, (count, 8), dtype=np.uint8)
    first, last = scales[:, :4], scales[:, 4:]
    blocks[:, 4:8] = first | (last >> 4) << 6
    blocks[:, 8:12] = first | (last >> 4) << 6
    blocks[:, 12:16] = (last & 15) | (last & 15) << 4
    blocks[:, 0:2] = half_field(generator, count, deviation / (math.sqrt(2341.5) * uniform_deviation(codes)))
    blocks[:, 2:4] = scaled_field(blocks[:, 0:2], (codes - 1) / 2)


def matrix(generator, shape, qtype):
    """The matrix as uint8 [out, bytes of a row]."""
    rows, columns = shape
    result = np.empty(model_files.quantized_shape(shape, qtype), np.uint8)
    block, _ = gguf.GGML_QUANT_SIZES[qtype]
    deviation = columns**-0.5
    step = max(1, PIECE // columns)
    for first in range(0, rows, step):
        part = result[first : first + step]
        elements = len(part) * columns
        if block == 1:
            values = generator.standard_normal(elements, np.float32)
            values *= np.float32(deviation)
            part[:] = float_bytes(values, qtype).reshape(part.shape)
        else:
            part[:] = integer_blocks(generator, elements // block, deviation, qtype).reshape(part.shape)
    return result
