"""Token ids of many texts on the disk, mapped into memory: made once, kept in the cache.

`encode(samples, builder, cache_root(None))` gives a sequence of `Encoded` that holds nothing but
offsets; the system reads the pages that are asked for and drops them when memory is short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from reward_model.data.sample import Sample
from reward_model.data.samples import Samples
from reward_model.data.tokens.inputs import Encoded, InputBuilder
from reward_model.data.tokens.write import (
    PROMPT_CUT,
    RESPONSE_CUT,
    are_many,
    usable_cores,
    write,
    write_shared,
)
from reward_model.records import digest
from reward_model.records.cache import Folder, made


class Tokens(Sequence[Encoded]):
    """Encoded texts in a folder: `tokens.npy` one after the other, `offsets.npy` where each begins,
    `cuts.npy`, `answers.npy`, and `second.npy` where the tokenizer tells prompt from response."""

    def __init__(self, folder: Folder, rows: NDArray[np.int64] | None = None) -> None:
        self.folder = folder
        path = folder.path
        self._ids = np.load(path / "tokens.npy", mmap_mode="r")
        self._offsets: NDArray[np.int64] = np.load(path / "offsets.npy", mmap_mode="r")
        self._cuts: NDArray[np.uint8] = np.load(path / "cuts.npy")
        self._answers: NDArray[np.int32] = np.load(path / "answers.npy", mmap_mode="r")
        second = path / "second.npy"
        self._second = np.load(second, mmap_mode="r") if second.exists() else None
        self._rows = np.arange(len(self._cuts)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...

    @overload
    def __getitem__(self, index: slice) -> Tokens: ...

    def __getitem__(self, index: int | slice) -> Encoded | Tokens:
        if isinstance(index, slice):
            return Tokens(self.folder, self._rows[index])
        row = int(self._rows[index])
        start, end = int(self._offsets[row]), int(self._offsets[row + 1])
        types = None
        if self._second is not None:
            first = int(self._second[row])
            types = [0] * first + [1] * (end - start - first)
        cut = int(self._cuts[row])
        return Encoded(
            self._ids[start:end].tolist(),
            types,
            bool(cut & PROMPT_CUT),
            bool(cut & RESPONSE_CUT),
            int(self._answers[row]),
        )

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Tokens:
        """The texts at these positions, in this order."""
        picked = np.asarray(rows) if len(rows) else np.zeros(0, np.int64)
        return Tokens(self.folder, self._rows[picked])

    @property
    def largest(self) -> int:
        """The largest token id of all texts; -1 without any."""
        return max((int(self._ids[a:b].max()) for a, b in self._spans() if b > a), default=-1)

    def _spans(self) -> Iterator[tuple[int, int]]:
        for row in self._rows:
            yield int(self._offsets[row]), int(self._offsets[row + 1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every text."""
        lengths: NDArray[np.int64] = np.diff(self._offsets)[self._rows]
        return lengths

    @property
    def prompt_cut(self) -> NDArray[np.bool_]:
        """Whose prompt lost its middle."""
        return (self._cuts[self._rows] & PROMPT_CUT).astype(np.bool_)

    @property
    def response_cut(self) -> NDArray[np.bool_]:
        """Whose response lost its middle."""
        return (self._cuts[self._rows] & RESPONSE_CUT).astype(np.bool_)


def encode(
    samples: Sequence[Sample], builder: InputBuilder, root: Path | None = None, workers: int = 0
) -> Tokens:
    """Token ids of `samples`, from the cache where it has them.

    Args:
        samples: texts of a file, or a list of samples, which is never kept.
        builder: what makes token ids of a text.
        root: folder of the cache; None keeps nothing.
        workers: processes; 0: one a core where there are many texts.

    Raises:
        UserError: no space on the disk.
    """
    name = _name(samples, builder)

    def make(folder: Path) -> None:
        if workers > 1 or (workers == 0 and are_many(samples, builder)):
            write_shared(folder, samples, builder, workers or usable_cores())
        else:
            write(folder, samples, builder)

    return Tokens(made(root if name else None, f"tokens-{name}", make, _good))


def _good(folder: Path) -> bool:
    try:
        tokens = Tokens(Folder(folder, kept=True))
        told = json.loads((folder / "texts.json").read_bytes())
    except (OSError, ValueError, EOFError):
        return False
    ends = tokens._offsets
    return bool(len(tokens) == told["texts"] == len(ends) - 1 and ends[-1] == len(tokens._ids))


def _name(samples: Sequence[Sample], builder: InputBuilder) -> str | None:
    """What the tokens follow from; None where that cannot be told."""
    tokenizer = tokenizer_digest(builder.tokenizer)
    if not isinstance(samples, Samples) or tokenizer is None:
        return None
    return digest(
        {
            "texts": samples.source,
            "tokenizer": tokenizer,
            "settings": builder.settings,
            "code": _code_digest(),
            "tokenizers": [version("transformers"), version("tokenizers")],
        },
        24,
    )


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Fingerprint of everything that decides on token ids; None for one that cannot be written."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    state = json.loads(backend.to_str())
    # Left over from the last call, and set anew by the next one.
    state.pop("truncation", None)
    state.pop("padding", None)
    names = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
    return digest([state, names, tokenizer.chat_template, list(tokenizer.model_input_names)], 24)


def _code_digest() -> str:
    """Fingerprint of the code that makes token ids, so that a changed check is not served stale."""
    package = files("reward_model")
    own = package / "data" / "tokens"
    parts = [own / f"{name}.py" for name in ("inputs", "wrapping", "cutting", "write")]
    # What is asked and judged of a line is decided where lines are read.
    chat = package / "records" / "chat"
    parts += [chat / f"{name}.py" for name in ("messages", "thoughts", "turns")]
    parts += [f for f in (package / "checks").iterdir() if f.name.endswith((".py", ".toml"))]
    return digest([[f.name, digest(f.read_bytes())] for f in sorted(parts, key=lambda f: f.name)])
