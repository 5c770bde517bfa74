"""Virtual environments of the peers: exact versions, each set installed once."""

import importlib.util
import json
import sys

import measure
from peers import base


def folder(context, name):
    return context.work / "venvs" / name


def python(context, name):
    return folder(context, name) / "bin" / "python"


def install(context, name, *steps):
    """Runs `pip install STEP..` for each step (a list of arguments) in the environment `name`, which is made first. Steps that
    were done stay done. Raises Unavailable."""
    path, record = folder(context, name), folder(context, name) / "installed.json"
    if name not in context.installed:
        if not record.exists():
            # Without a record of it the folder may be half made.
            context.execute([sys.executable, "-m", "venv", "--clear", path])
        context.installed[name] = json.loads(record.read_text()) if record.exists() else []
    done = context.installed[name]
    for step in steps:
        words = [str(word) for word in step]
        if words in done:
            continue
        if not context.dry_run:
            print(f"installing into {path}: {' '.join(words)}", file=sys.stderr)
        context.execute([python(context, name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words])
        done.append(words)
        if not context.dry_run:
            record.write_text(json.dumps(done, indent=2) + "\n")


def require(context, name):
    """The interpreter of an environment that install() made."""
    path = python(context, name)
    if not context.dry_run and not path.exists():
        raise base.Unavailable(f"{path} is not there")
    return path


def tools_python(context):
    """An interpreter with what tools/make_random_model imports: this one, or one of an environment. Raises Unavailable."""
    if all(importlib.util.find_spec(name) for name in ("numpy", "gguf")):
        return sys.executable
    install(context, "tools", ["-r", measure.ROOT / "tools" / "requirements.txt"])
    return require(context, "tools")
