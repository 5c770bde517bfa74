#!/usr/bin/env python3
"""Writes the tables of docs/planning.md from the planner itself, or checks that they are what it says.

    tools/planning_tables.py build/release/bin            # rewrites the tables
    tools/planning_tables.py build/release/bin --check    # exit code 1 and the difference where they are old

The folder holds `dunlin` and `planner_published_tables_test` (the shapes of GPT-OSS are recorded by that test). A table
stands between "<!-- table: NAME -->" and "<!-- end -->".
"""

import argparse
import difflib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/planning.md"
GIB = 2.0**30

# README of jax-llm-examples' llama3: tensor parallel devices, batch, context, tokens/s of a sequence, "HBM BW util"
PUBLISHED_70B = [
    (16, 8, 2048, 159, 85.18), (16, 8, 4096, 146, 78.12), (16, 8, 8192, 146, 78.09), (16, 16, 2048, 135, 71.87),
    (16, 16, 4096, 129, 68.72), (16, 16, 8192, 123, 65.68), (16, 32, 2048, 108, 57.53), (16, 32, 4096, 100, 53.68),
    (16, 32, 8192, 93.8, 50.13), (16, 64, 2048, 68.7, 36.72), (16, 64, 4096, 62.7, 33.48), (16, 128, 2048, 39.3, 20.97),
    (8, 8, 2048, 84.4, 45.06), (8, 8, 4096, 83.4, 44.54), (8, 8, 8192, 81.7, 43.63), (8, 16, 2048, 80.2, 42.86),
    (8, 16, 4096, 79.5, 42.47), (8, 16, 8192, 76.9, 41.09), (8, 32, 2048, 74.5, 39.78), (8, 32, 4096, 74, 39.53),
    (8, 32, 8192, 71.3, 38.08), (8, 64, 2048, 58.4, 31.20), (8, 64, 4096, 58.1, 31.05), (8, 128, 2048, 50.2, 26.80),
]

# A hand estimate for v4-8 at 4096 tokens: model, mesh, weights of a device, cache and activations of a sequence (GB),
# batch of a device and in all
ESTIMATES_V4 = [
    ("llama-3.2-1b", "data=4", 2, 0.5, 1.1, 16, 64), ("llama-3.2-3b", "data=4", 6, 0.8, 2.4, 7, 28),
    ("llama-2-7b", "data=2,model=2", 7, 1.0, 4.2, 4, 16), ("llama-2-13b", "model=4", 6.5, 1.3, 6.8, 2, 8),
    ("internlm-20b", "model=4", 10, 1.5, 8.9, 1, 4),
]


def plan(folder, model, *flags):
    """The object of `dunlin plan --json`; a model that does not fit (exit code 4) has one too."""
    command = [folder / "dunlin", "plan", ROOT / f"docs/planning/{model}.json", "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")
    return json.loads(done.stdout)


def number(value):
    """Three significant digits."""
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e" in text else text


def table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "|".join("---:" if i else "---" for i in range(len(titles))) + "|"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def sizes_v4(folder):
    rows = []
    for model, mesh, weights, cache, activations, batch, total in ESTIMATES_V4:
        ours = plan(folder, model, "--device", "v4-8", "--mesh", mesh, "-c", "4096")
        one = ours["per_device"]
        cores = plan(folder, model, "--device", "v4-8", "--split-cores", "-c", "4096")
        rows.append([model, mesh, f"{number(one['weights_bytes'] / 1e9)} / {weights}",
                     f"{number(one['kv_bytes'] / 1e9)} / {cache}",
                     f"{number((one['activation_bytes'] + one['workspace_bytes']) / 1e9)} / {activations}",
                     f"{ours['max_batch_per_device']} / {batch}", f"{ours['max_batch']} / {total}", cores["max_batch"]])
    return table(["model", "mesh", "weights, GB", "cache of a sequence, GB", "activations and workspace, GB",
                  "batch of a device", "batch in all", "in all, split cores"], rows)


def decode_70b(folder):
    rows = []
    for tensor, batch, context, speed, utilisation in PUBLISHED_70B:
        mesh = f"data={16 // tensor},model={tensor}"
        decode = plan(folder, "llama-3.1-70b", "--device", "v5e-16", "--mesh", mesh, "-np", str(batch), "-c", str(context),
                      "--quantize", "int8", "--output-type", "bf16", "-ctk", "int8", "-ctv", "int8", "--fill",
                      "0.25")["decode"]
        ours = decode["tokens_per_second_per_sequence"]
        rows.append([mesh, batch, context, speed, number(ours), f"{100 * (ours / speed - 1):+.1f} %",
                     number(decode["best_tokens_per_second"] / batch), f"{utilisation:.0f} %",
                     f"{100 * decode['utilisation_weights_only']:.0f} %", f"{100 * decode['utilisation']:.0f} %",
                     decode["bound"]])
    return table(["mesh", "batch", "context", "published tokens/s", "planned", "off by", "best", "published utilisation",
                  "weights only", "with cache", "bound"], rows)


def strategies_70b(folder):
    rows = []
    for batch in (8, 1024, 16384):
        ours = plan(folder, "llama-3.1-70b", "--device", "v5e-16", "-np", str(batch), "-c", "128", "--prompt", "64",
                    "--quantize", "int8", "--output-type", "bf16")
        for each in ours["alternatives"]:
            if each["possible"]:
                mesh = ",".join(f"{name}={size}" for name, size in each["mesh"].items() if size > 1)
                rows.append([batch, each["strategy"], mesh, number(each["communication_bytes_per_step"] / 1e6),
                             "yes" if each["fits"] else "no", number(each["tokens_per_second"]),
                             "sends least" if each["cheapest"] else ""])
    flips = "; ".join(f"{flip['to']} sends less than {flip['from']} from {flip['rows']:.0f} rows on"
                      for flip in ours["flips"])
    return table(["rows", "parallelism", "mesh", "MB sent", "fits", "tokens/s", ""], rows) + ["", flips + "."]


def gpt_oss(folder):
    command = [folder / "planner_published_tables_test", "--gtest_filter=GptOss.*:Llama405b.*"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in printed.splitlines() if line.startswith("|")]
    for row in rows:
        for i in (5, 6, 9):
            row[i] = number(float(row[i]))
    return table(["model", "weights in", "on", "mesh", "batch", "weights, GiB", "total, GiB", "fits", "largest batch",
                  "tokens/s"], rows)


def diffucoder(folder):
    rows = []
    for batch, published in ((1, 45), (2, 48), (4, 55), (8, 75)):
        ours = plan(folder, "diffucoder-7b", "--device", "v2-8", "--mesh", "model=8", "-np", str(batch), "--prompt", "1",
                    "-n", "127", "-c", "128", "--all-logits")
        prefill = ours["prefill"]
        rows.append([f"{batch} x 128", published, number(1e3 * prefill["best_seconds"]), number(1e3 * prefill["seconds"]),
                     prefill["bound"], number(batch * 128 / prefill["seconds"]), number(1e3 * batch * 128 / published),
                     number(ours["per_device"]["weights_bytes"] / GIB), number(ours["per_device"]["total_bytes"] / GIB)])
    return table(["rows", "stated, ms", "best, ms", "expected, ms", "bound", "tokens/s", "stated tokens/s",
                  "weights of a core, GiB", "total of a core, GiB"], rows)


TABLES = {"sizes-v4": sizes_v4, "decode-70b": decode_70b, "strategies-70b": strategies_70b, "gpt-oss": gpt_oss,
          "diffucoder": diffucoder}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="where dunlin and the tests are")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    page = PAGE.read_text()
    made = page
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.S)
        if not pattern.search(made):
            raise SystemExit(f"{PAGE}: no place for the table {name}")
        lines = "\n".join(make(arguments.folder.resolve()))
        made = pattern.sub(lambda match: f"{match[1]}{lines}\n{match[2]}", made)
    if arguments.check:
        sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), made.splitlines(True), "docs/planning.md", "now"))
        return 1 if made != page else 0
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
