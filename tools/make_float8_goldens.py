#!/usr/bin/env python3
"""Writes tests/formats/data/float8.bin: what torch says of its two 8-bit floats.

    pip install torch
    python tools/make_float8_goldens.py tests/formats/data/float8.bin

For float8_e4m3fn, then float8_e5m2: the float32 values of the 256 codes, then the codes of the bf16 numbers with the
bits 0x0000 to 0x7f80 (zero to infinity), cut to the largest finite value as those who quantise do.
"""

import argparse
import pathlib

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    data = b""
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        codes = torch.arange(256, dtype=torch.int16).to(torch.uint8)
        data += codes.view(dtype).to(torch.float32).numpy().tobytes()
        positive = torch.arange(0x7F81, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).to(torch.float32)
        cut = positive.clamp(max=torch.finfo(dtype).max)
        data += cut.to(dtype).view(torch.uint8).numpy().tobytes()
    arguments.out.write_bytes(data)


if __name__ == "__main__":
    main()
