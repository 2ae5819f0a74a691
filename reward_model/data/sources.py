"""Where rows come from: JSON Lines as they are; Parquet, CSV, a folder of such files or a data set
of the hub are written as JSON Lines into the cache once.

`find_source("train.parquet", cache_dir=None).path` is a file that texts can be read from again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_model.records import UserError, digest, is_folder, is_there, write_jsonl
from reward_model.records.cache import Folder, cache_root, made
from reward_model.records.errors import first_line
from reward_model.records.files import Pathish, read_jsonl
from reward_model.records.hub import hushed, is_hub_id
from reward_model.records.tables import (
    PARQUET,
    SEPARATORS,
    csv_rows,
    is_csv,
    is_parquet,
    parquet_rows,
    plain,
)

_ROWS = "rows.jsonl"
_LINES = (".jsonl", ".ndjson", ".json")
_TABLES = (*SEPARATORS, PARQUET)


@dataclass(frozen=True)
class RowSource:
    """A file of JSON Lines, and what it was made from."""

    path: Path
    """The file to read."""
    shown: Path
    """What the user named, for messages."""
    folder: Folder | None = None
    """Where the rows were written to, if they were not JSON Lines; holds a temporary folder."""

    @property
    def converted(self) -> bool:
        """Lines of `path` are rows of another file; what is missing there is null here."""
        return self.folder is not None


def find_source(
    place: Pathish,
    *,
    config: str | None = None,
    split: str = "train",
    cache_dir: str | None = None,
) -> RowSource:
    """The rows of a file, a folder or a data set of the hub.

    Args:
        place: path, or id of a data set of the hub.
        config: configuration of a data set of the hub.
        split: which split of a data set that has several.
        cache_dir: as in the settings of training.

    Raises:
        UserError: nothing there, or rows that cannot be read.
    """
    path = Path(place)
    if is_folder(path):
        if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
            key = [split, *_stamps(sorted(path.rglob("*")))]
            return _convert(path, key, _saved(path, split), cache_dir)
        files = _files_of(path)
        return _convert(path, _stamps(files), _rows(files), cache_dir)
    if is_there(path) and path.suffix.lower() in _TABLES:
        return _convert(path, _stamps([path]), _rows([path]), cache_dir)
    if not is_there(path) and _is_hub_id(str(place)):
        data = _hub(str(place), config, split)
        return _convert(path, [data._fingerprint], data, cache_dir)
    return RowSource(path, path)


def _convert(shown: Path, key: list[Any], rows: Iterable[Any], cache_dir: str | None) -> RowSource:
    def make(folder: Path) -> None:
        if not write_jsonl(folder / _ROWS, (plain(row) for row in rows)):
            raise UserError("no row", expected="a row for each text or pair", path=shown)

    name = f"rows-{digest([str(shown), key, 2], 24)}"
    folder = made(cache_root(cache_dir), name, make, lambda folder: (folder / _ROWS).is_file())
    return RowSource(folder.path / _ROWS, shown, folder)


def _stamps(files: list[Path]) -> list[Any]:
    stats = [(str(path.resolve()), path.stat()) for path in files if path.is_file()]
    return [[name, found.st_size, found.st_mtime_ns] for name, found in stats]


def _files_of(folder: Path) -> list[Path]:
    known = (*_LINES, *_TABLES)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in known)
    kinds = sorted({path.suffix.lower() for path in files})
    if len(kinds) != 1:
        raise UserError(
            f"a folder with files of {' and '.join(kinds)}" if kinds else "a folder without data",
            expected=f"a file, or a folder with files of one of {', '.join(known)}",
            path=folder,
        )
    return files


def _rows(files: list[Path]) -> Iterator[Any]:
    for path in files:
        if is_csv(path):
            yield from csv_rows(path)
        elif is_parquet(path):
            yield from parquet_rows(path)
        else:
            yield from (line.value for line in read_jsonl(path))


def _saved(path: Path, split: str) -> Iterable[Any]:
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"no readable data set ({first_line(error)})", path=path) from None
    if isinstance(data, DatasetDict):
        if split not in data:
            raise UserError(f"no split {split}", expected=f"one of {', '.join(data)}", path=path)
        data = data[split]
    found: Iterable[Any] = data
    return found


def _is_hub_id(name: str) -> bool:
    if name.lower().endswith((*_LINES, *_TABLES)) or Path(name).parent.is_dir():
        return False  # a path that is misspelt; asking the hub would only take time
    return is_hub_id(name)


def _hub(name: str, config: str | None, split: str) -> Any:
    from datasets import load_dataset

    try:
        with hushed():
            return load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"no such file or folder, and no data set of the hub that loads ({first_line(error)})",
            expected="a path, or the id of a data set",
            mend="check the spelling and the network; split and config stand in the --columns file",
            path=name,
        ) from None
