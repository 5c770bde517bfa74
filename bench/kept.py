"""What a script that takes long has measured, in a file."""

import hashlib
import json
import os
import pathlib
import sys


class Kept:
    """Rows of a script that takes long, in a file as soon as each is measured: a run that was ended goes on. They are of one
    `settings`, which is to name all that figures depend on but the machine; rows of others stay in the file, so that a trial
    costs nobody what took hours."""

    def __init__(self, path, settings, again=False):
        """`again`: rows of these settings are measured anew."""
        self.path, self.runs = path, []
        settings = json.loads(json.dumps({**settings, "machine": machine()}, default=str))
        if path.exists():
            self.runs = read_runs(path)
        self.run = next((run for run in self.runs if run["settings"] == settings), None)
        if self.run is None:
            self.run = {"settings": settings, "rows": {}}
            if self.runs:
                print(f"{path}: what is there is of other settings, another build or another machine", file=sys.stderr)
            self.runs.append(self.run)
        elif again:
            self.run["rows"] = {}
        else:
            print(f"{path}: {len(self.rows)} rows are there already (--again measures them anew)", file=sys.stderr)

    @property
    def rows(self):
        return self.run["rows"]

    def row(self, key, make):
        """The row of this key, which make() measures where it is not there."""
        if key not in self.rows:
            # As it will be read.
            self.rows[key] = json.loads(json.dumps(make()))
            partial = self.path.with_name(f"{self.path.name}.tmp")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"schema_version": 1, "runs": self.runs}, indent=1) + "\n")
            partial.replace(self.path)
        return self.rows[key]


def read_runs(path):
    """[{"settings", "rows"}] of the file. Ends the script where it is no such file."""
    try:
        runs = json.loads(path.read_text())["runs"]
        if not all(isinstance(run["settings"], dict) and isinstance(run["rows"], dict) for run in runs):
            raise TypeError("settings or rows is no object")
        return list(runs)
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: {path}: not a file of kept rows: {type(error).__name__} {error}")


def identity(path):
    """A file, or the files of a folder, as they are now: what is written again is another."""
    path = pathlib.Path(path).resolve()
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    return [str(path), *([each.name, each.stat().st_size, each.stat().st_mtime_ns] for each in files)]


def machine():
    """What figures depend on beside programs: the processor and what it can do (a digest of its flags, as one name stands for
    several on virtual machines), how many of its threads this process may use, and the variables that programs read."""
    fields = parse_cpuinfo(read_if_there("/proc/cpuinfo"))
    features = fields.get("flags") or fields.get("Features") or ""
    names = [fields[name] for name in ("model name", "CPU implementer", "CPU part") if name in fields]
    variables = {name: value for name, value in sorted(os.environ.items())
                 if name.startswith("DUNLIN_") and not name.startswith("DUNLIN_TEST_") and not name.endswith("_CACHE")}
    return {"processor": " ".join(names), "features": hashlib.sha256(features.encode()).hexdigest()[:12],
            "processors": len(os.sched_getaffinity(0)), "variables": variables}


def parse_cpuinfo(text):
    """{name: value} of the first processor in /proc/cpuinfo."""
    lines = [line.partition(":") for line in text.split("\n\n")[0].splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines}


def read_if_there(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
