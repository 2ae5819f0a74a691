"""transformers kept quiet, and its errors that a folder may raise."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging as hf_logging

from reward_model.records import UserError, explain_os_error, is_folder, read_object
from reward_model.records.errors import some_of
from reward_model.records.hub import hushed

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


LFS = b"version https://git-lfs"


def model_type(path: Path) -> str | None:
    """What kind of model a folder says it holds; None if it says nothing."""
    return (read_object(path / "config.json") or {}).get("model_type")


def check_fetched(folder: Path) -> None:
    """A clone without git-lfs holds a few lines where weights or tokenizer should be.

    Raises:
        UserError: such files are there, or one that may not be read, of which transformers would
            say that it is not there.
    """
    pointers = []
    try:
        for path in sorted(folder.iterdir()) if is_folder(folder) else ():
            if path.suffix in {".safetensors", ".bin", ".json", ".model"} and path.is_file():
                with path.open("rb") as file:
                    if file.read(len(LFS)) == LFS:
                        pointers.append(path.name)
    except OSError as error:
        raise explain_os_error(error, error.filename or folder) from None
    if pointers:
        raise UserError(
            f"only pointers of git-lfs instead of {some_of(pointers)}",
            expected="the files themselves",
            mend="run git lfs pull in that folder, or fetch the model again",
            path=folder,
        )


def check_vocabulary(tokenizer: Any, place: str | Path) -> None:
    """Where a folder has no tokenizer, transformers makes one that knows no word of any text.

    Raises:
        UserError: there are no tokens but the special ones.
    """
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise UserError(
            f"no tokenizer in {place}: without its files every text would be empty or unknown",
            expected="tokenizer.json, or the files that its kind of model has",
            mend="copy them from where the model comes from",
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the bars, reports and tries of transformers and the hub's client off the terminal, for
    the length of the block, and what these libraries tell each other of names to come."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with hushed(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
