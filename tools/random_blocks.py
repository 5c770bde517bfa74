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


def integer_blocks(generator, count, deviation, qtype):
    """`count` random blocks of values with standard deviation `deviation`."""
    _, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = np.frombuffer(generator.bytes(count * size), np.uint8).reshape(count, size).copy()
    if qtype == Q.Q4_0:  # mean of q - 8 is -0.5: the sign of the scale is random, so that the mean is 0
        signs = generator.choice(np.array([-1.0, 1.0]), count)
        blocks[:, 0:2] = half_field(generator, count, signs * deviation / math.sqrt(uniform_deviation(16) ** 2 + 0.25))
    elif qtype == Q.Q8_0:
        blocks[:, 0:2] = half_field(generator, count, deviation / uniform_deviation(256))
    elif qtype == Q.Q4_1:
        scale = half_field(generator, count, deviation / uniform_deviation(16))
        blocks[:, 0:2] = scale
        middle = -7.5 * np.ascontiguousarray(scale).view(np.float16).astype(np.float32)
        blocks[:, 2:4] = middle.astype(np.float16).view(np.uint8).reshape(count, 2)
    elif qtype == Q.Q4_K:
        fill_q4_k(generator, blocks, deviation)
    elif qtype == Q.Q6_K:  # group scales 32..63 of random sign, mean square 2341.5
        scales = generator.integers(32, 64, (count, 16), dtype=np.int8)
        blocks[:, 192:208] = np.where(blocks[:, 192:208] < 128, scales, -scales).view(np.uint8)
        blocks[:, 208:210] = half_field(generator, count, deviation / (math.sqrt(2341.5) * uniform_deviation(64)))
    return blocks


def fill_q4_k(generator, blocks, deviation):
    """Eight six-bit scales s in 32..63 per block with the minimum m = s and dmin = 7.5 d, so that the mean is 0."""
    count = len(blocks)
    scales = generator.integers(32, 64, (count, 8), dtype=np.uint8)
    first, last = scales[:, :4], scales[:, 4:]
    blocks[:, 4:8] = first | (last >> 4) << 6
    blocks[:, 8:12] = first | (last >> 4) << 6
    blocks[:, 12:16] = (last & 15) | (last & 15) << 4
    scale = half_field(generator, count, deviation / (math.sqrt(2341.5) * uniform_deviation(16)))
    blocks[:, 0:2] = scale
    middle = 7.5 * np.ascontiguousarray(scale).view(np.float16).astype(np.float32)
    blocks[:, 2:4] = middle.astype(np.float16).view(np.uint8).reshape(count, 2)


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
