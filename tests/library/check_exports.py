#!/usr/bin/env python3
"""Checks the dynamic symbols of libdunlin.so: the functions of the C header, all of them, and what the C++ headers mark
with DUNLIN_API; nothing of ours or of another library's besides."""

import pathlib
import re
import subprocess
import sys


def names(library, demangle):
    output = subprocess.run(["nm", "--dynamic", "--defined-only", *(["--demangle"] if demangle else []), library],
                            check=True, capture_output=True, text=True).stdout
    found = (line.split(maxsplit=2) for line in output.splitlines())
    return {re.sub(r"@+DUNLIN_\d+$", "", fields[-1]) for fields in found}


def main():
    library, include = sys.argv[1:]
    header = (pathlib.Path(include) / "dunlin" / "dunlin.h").read_text()
    declared = set(re.findall(r"^DUNLIN_API [^;]*?\b(dunlin_\w+)\(", header, re.MULTILINE))
    exported = names(library, demangle=False)
    c_functions = {name for name in exported if name.startswith("dunlin_")}
    wrong = [f"declared in dunlin.h and not exported: {name}" for name in sorted(declared - c_functions)]
    wrong += [f"exported and not declared in dunlin.h: {name}" for name in sorted(c_functions - declared)]

    classes = set()
    for path in (pathlib.Path(include) / "dunlin").glob("*.h"):
        classes |= set(re.findall(r"^class DUNLIN_API (\w+)", path.read_text(), re.MULTILINE))
    others = {name for name in names(library, demangle=True) if not name.startswith("dunlin_")}
    allowed = re.compile(r"dunlin::(%s)::|DUNLIN_\d+$" % "|".join(sorted(classes)))
    wrong += [f"exported: {name}" for name in sorted(others) if not allowed.match(name)]
    if not any(allowed.match(name) for name in others):
        wrong.append("no function of a class of the C++ headers is exported")
    print("\n".join(wrong) if wrong else f"{len(declared)} C functions and {len(classes)} C++ classes are exported")
    return 1 if wrong or not declared else 0


if __name__ == "__main__":
    sys.exit(main())
