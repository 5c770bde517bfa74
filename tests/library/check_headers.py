#!/usr/bin/env python3
"""Checks that the public headers include only the standard library and each other, and that each compiles alone."""

import pathlib
import re
import subprocess
import sys

C_STANDARD = {"stddef.h", "stdint.h"}


def main():
    include, cxx, cc = sys.argv[1:]
    wrong = []
    headers = sorted((pathlib.Path(include) / "dunlin").glob("*"))
    for path in headers:
        for name in re.findall(r'^\s*#\s*include\s*([<"][^>"]+)', path.read_text(), re.MULTILINE):
            known = re.fullmatch(r"<[a-z_0-9]+", name) or name[1:] in C_STANDARD
            if not known and not re.fullmatch(r"<dunlin/\w+\.h", name):
                wrong.append(f"{path.name} includes {name}")
        compilers = [[cxx, "-x", "c++", "-std=c++20"]]
        if path.name in ("dunlin.h", "export.h"):
            compilers.append([cc, "-x", "c", "-std=c11", "-pedantic"])
        for compiler in compilers:
            result = subprocess.run([*compiler, "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only",
                                     f"-I{include}", "-"], capture_output=True, text=True,
                                    input=f"#include <dunlin/{path.name}>\ntypedef int not_empty;\n")
            if result.returncode != 0:
                wrong.append(f"{path.name} does not compile alone:\n{result.stderr}")
    print("\n".join(wrong) if wrong else f"{len(headers)} public headers stand alone")
    return 1 if wrong or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
