"""Where a command writes, looked at before it works: never over what it reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reward_model.records.errors import UserError
from reward_model.records.files import Pathish

_CONTENT = re.compile(
    r"(.+\.(jsonl|parquet|csv|tsv|arrow|safetensors|bin|pt|toml|gguf|onnx|model|lock)|README\.md"
    r"|(adapter_|generation_)?config\.json|(special_)?tokens?.*\.json|vocab\..+|merges\.txt"
    r"|dataset_(dict|info)\.json|state\.json|.+\.index\.json)"
)
"""What makes a folder a model or a data set; a report that lies beside it is not."""


def check_outputs(
    outputs: Mapping[str, Pathish | None], inputs: Iterable[Pathish | None] = ()
) -> None:
    """Said before the work instead of after it: no output is an input, a folder, or another output.

    Args:
        outputs: flag -> file it names; None and `-` (stdout) are fine.
        inputs: files, and folders of a model or a data set; links are followed.

    Raises:
        UserError: naming the flag, and what writing there would destroy.
    """
    read = [place for one in inputs if one is not None for place in _files(Path(one))]
    taken: list[tuple[str, Path]] = []
    for flag, name in outputs.items():
        if name is None or str(name) == "-":
            continue
        place = Path(name)
        if place.is_dir():
            raise UserError("a folder", expected="a file to write", path=name)
        if any(_same(place, other) for other in read):
            raise UserError(
                f"the input itself as {flag}, which would be written over",
                expected="another file",
                path=name,
            )
        for before, other in taken:
            if _same(place, other):
                raise UserError(
                    f"one file for {before} and {flag}", expected="a file for each", path=name
                )
        taken.append((flag, place))


def _files(place: Path) -> Iterator[Path]:
    yield place
    if place.is_dir():
        yield from (file for file in place.rglob("*") if _CONTENT.fullmatch(file.name))


def _same(one: Path, other: Path) -> bool:
    try:
        if one.exists() and not one.is_file():  # a pipe or /dev/null is nobody's data
            return False
        if one.exists() and other.exists():
            return one.samefile(other)
    except OSError:
        return False
    return os.path.realpath(one) == os.path.realpath(other)
