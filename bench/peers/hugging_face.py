"""The environment that torch, OpenVINO and CTranslate2 share: one torch, and the transformers that converts for all three."""

from peers import venvs

NAME = "hugging_face"
BASE = ["torch==2.15.0", "transformers==4.57.6"]


def install(context, *packages):
    """With `packages` on top, whose own wishes must not move the versions of the base."""
    steps = [BASE] + ([[*BASE, *packages]] if packages else [])
    venvs.install(context, NAME, *steps)


def python(context):
    return venvs.require(context, NAME)


def tool(context, name):
    """A command that a package brought."""
    return python(context).with_name(name)
