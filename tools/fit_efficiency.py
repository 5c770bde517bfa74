#!/usr/bin/env python3
"""Fits the planner's efficiency of TPU v5e to the published decode rows of Llama-3.1-70B on v5e-16.

    pip install scipy
    tools/fit_efficiency.py build/release/bin/dunlin

The rows are those of the README of jax-llm-examples' llama3 (jax 0.6.0): int8 layers, BF16 embedding and output, int8
cache. Four constants: the share of memory bandwidth and of link bandwidth that is reached, the latency of a hop, and the
share of the stated context that is filled on average (the prompts are shorter than it: prefill takes the same time at
every context). Least squares of the logarithm on every other row; the other twelve are the check. The constants belong
into src/planner/device_catalogue.cpp; tests/planner/published_tables_test.cpp holds the result against all rows.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

from scipy.optimize import minimize

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = ROOT / "docs/planning/llama-3.1-70b.json"

# tensor parallel devices, batch, context, tokens per second of a sequence
ROWS = [
    (16, 8, 2048, 159), (16, 8, 4096, 146), (16, 8, 8192, 146), (16, 16, 2048, 135), (16, 16, 4096, 129),
    (16, 16, 8192, 123), (16, 32, 2048, 108), (16, 32, 4096, 100), (16, 32, 8192, 93.8), (16, 64, 2048, 68.7),
    (16, 64, 4096, 62.7), (16, 128, 2048, 39.3),
    (8, 8, 2048, 84.4), (8, 8, 4096, 83.4), (8, 8, 8192, 81.7), (8, 16, 2048, 80.2), (8, 16, 4096, 79.5),
    (8, 16, 8192, 76.9), (8, 32, 2048, 74.5), (8, 32, 4096, 74), (8, 32, 8192, 71.3), (8, 64, 2048, 58.4),
    (8, 64, 4096, 58.1), (8, 128, 2048, 50.2),
]


def plan(dunlin, row, device, *flags):
    tensor, batch, context, _ = row
    command = [dunlin, "plan", MODEL, "--device", device, "--devices", "16", "--mesh", f"data={16 // tensor},model={tensor}",
               "-np", str(batch), "-c", str(context), "--quantize", "int8", "--output-type", "bf16",
               "-ctk", "int8", "-ctv", "int8", "--json", *flags]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["decode"]


def components(dunlin, row, folder):
    """Seconds of v5e at full bandwidth, and the hops of all collectives."""
    v5e = {"memory_bytes": 16.9e9, "memory_bytes_per_second": 819e9, "bf16_flops": 197e12}
    wires = {"link_bytes_per_second": 45e9, "dimensions": 2, "wrap": 16, "most_devices": 256, "hop_seconds": 0}
    fast = folder / "fast.json"
    fast.write_text(json.dumps(v5e | {"interconnect": wires}))
    hops = folder / "hops.json"
    hops.write_text(json.dumps(v5e | {"interconnect": wires | {"link_bytes_per_second": 1e15, "hop_seconds": 1}}))
    decode = plan(dunlin, row, fast)
    return {"weights": decode["weight_bytes_read"] / 819e9, "kv": decode["kv_bytes_read"] / 819e9,
            "compute": decode["step"]["compute_seconds"], "links": decode["step"]["interconnect_seconds"],
            "hops": plan(dunlin, row, hops)["step"]["interconnect_seconds"]}


def seconds(parameters, parts):
    memory, interconnect, hop, fill = parameters
    return (max(parts["weights"] / memory, parts["compute"]) + fill * parts["kv"] / memory +
            max(parts["links"] / interconnect, parts["hops"] * hop))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dunlin")
    dunlin = parser.parse_args().dunlin
    with tempfile.TemporaryDirectory() as folder:
        parts = [components(dunlin, row, pathlib.Path(folder)) for row in ROWS]

    def error(parameters, i):
        return math.log(ROWS[i][3] * seconds(parameters, parts[i]))

    def loss(scaled):
        parameters = (scaled[0], scaled[1], scaled[2] * 1e-6, scaled[3])
        if not all(0 < each <= 1 for each in scaled):
            return 1e9
        return sum(error(parameters, i) ** 2 for i in range(0, len(ROWS), 2))

    options = {"maxiter": 20000, "xatol": 1e-7, "fatol": 1e-12}
    starts = [(m, l, h, f) for m in (0.85, 0.95) for l in (0.4, 0.6) for h in (0.2, 0.5) for f in (0.1, 0.3)]
    best = min((minimize(loss, start, method="Nelder-Mead", options=options) for start in starts), key=lambda fit: fit.fun)
    parameters = (best.x[0], best.x[1], best.x[2] * 1e-6, best.x[3])
    print("memory {:.3f}  interconnect {:.3f}  hop {:.3g} s  fill {:.3f}".format(*parameters))
    for name, first in (("fitted", 0), ("checked", 1)):
        worst = max(abs(math.exp(-error(parameters, i)) - 1) for i in range(first, len(ROWS), 2))
        print(f"{name} rows: at most {100 * worst:.1f} % off")


if __name__ == "__main__":
    main()
