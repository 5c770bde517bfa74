"""A dunlin for the tests of scripts: it notes what it is asked, and says what the test wants. What was asked is then held
against the flags that the real one has."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import unittest.mock

# Commands that know --print-config, which reads a command line and does nothing.
CHECKED = ("run", "bench", "plan", "eval", "verify")

HEAD = """#!{python}
import json
import os
import sys

words = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps(words) + "\\n")


def value(*names):
    for name in names:
        if name in words:
            return words[words.index(name) + 1]
    return None


def say(object):
    print(json.dumps(object), flush=True)


if words[0] == "version":
    say({{"version": "0.1.0", "compiler": "g++ 12.2.0"}})
    sys.exit()
"""


class FakeDunlin:
    def __init__(self, folder, body):
        """`body`: Python behind HEAD."""
        self.folder, self.path, self.noted = folder, folder / "dunlin", folder / "calls"
        self.path.write_text(HEAD.format(python=sys.executable, calls=str(self.noted)) + body)
        self.path.chmod(0o755)

    def calls(self, *beginning):
        """Those that begin so."""
        lines = self.noted.read_text().splitlines() if self.noted.exists() else []
        found = [json.loads(line) for line in lines]
        return [words for words in found if words[:len(beginning)] == list(beginning)]

    def wrong_calls(self, dunlin, model, stands_for):
        """[(words, message)] of what the real one does not understand. `model` takes the place of the paths `stands_for`."""
        replaced = {str(path) for path in stands_for}
        asked = {tuple(str(model) if word in replaced else word for word in words) for words in self.calls()}
        wrong = []
        for words in sorted(asked):
            if words[0] not in CHECKED:
                continue
            result = subprocess.run([dunlin, *words, "--print-config"], capture_output=True, text=True,
                                    stdin=subprocess.DEVNULL, env={**os.environ, "HOME": str(self.folder)})
            if result.returncode != 0:
                wrong.append((words, result.stderr))
        return wrong


def run_script(script, *words, **environment):
    return subprocess.run([sys.executable, *map(str, (script, *words))], env={**os.environ, **environment}, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


def load_script(path):
    """The script as a module, whose functions a test calls by themselves."""
    loader = importlib.machinery.SourceFileLoader(path.name, str(path))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(path.name, loader))
    with unittest.mock.patch.object(sys, "dont_write_bytecode", True):
        loader.exec_module(script)
    return script


TINY = pathlib.Path(__file__).resolve().parent.parent / "data" / "dream_plain" / "model"
