"""The door for scripts: sessions, and inputs made for them. Nothing of ours imports it."""

from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import Session, make_session

__all__ = ["Session", "make_inputs", "make_session"]
