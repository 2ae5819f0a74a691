"""transformers kept quiet, and its errors that a folder may raise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging as hf_logging

from reward_model.records import read_object

UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers raises where a file of a model is broken, or a setting of the wrong type."""


def model_type(path: Path) -> str | None:
    """What kind of model a folder says it holds; None if it says nothing."""
    return (read_object(path / "config.json") or {}).get("model_type")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and loading reports off the terminal, for the length of the block."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
