"""Where rows come from: JSON Lines as they are; Parquet, CSV, a folder of such files or a data set
of the hub are written as JSON Lines into the cache once.

`find_source("train.parquet", cache_dir=None).path` is a file that texts can be read from again.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_model.records import UserError, digest, explain_os_error, write_jsonl
from reward_model.records.cache import Folder, cache_root, made
from reward_model.records.errors import first_line
from reward_model.records.files import Pathish, not_utf8, read_jsonl

_ROWS = "rows.jsonl"
_LINES = (".jsonl", ".ndjson", ".json")
_CSV = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet",)
ROWS = 64
"""Rows of a Parquet file in memory at once: a row may hold 100,000 characters."""


@dataclass(frozen=True)
class Source:
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
) -> Source:
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
    if path.is_dir():
        if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
            key = [split, *_stamps(sorted(path.rglob("*")))]
            return _convert(path, key, _saved(path, split), cache_dir)
        files = _files_of(path)
        return _convert(path, _stamps(files), _rows(files), cache_dir)
    if path.exists() and path.suffix.lower() in (*_CSV, *_PARQUET):
        return _convert(path, _stamps([path]), _rows([path]), cache_dir)
    if not path.exists() and _is_hub_id(str(place)):
        data = _hub(str(place), config, split)
        return _convert(path, [data._fingerprint], data, cache_dir)
    return Source(path, path)


def _convert(shown: Path, key: list[Any], rows: Iterable[Any], cache_dir: str | None) -> Source:
    def make(folder: Path) -> None:
        if not write_jsonl(folder / _ROWS, (_plain(row) for row in rows)):
            raise UserError("no row", expected="a row for each text or pair", path=shown)

    name = f"rows-{digest([str(shown), key, 2], 24)}"
    folder = made(cache_root(cache_dir), name, make, lambda folder: (folder / _ROWS).is_file())
    return Source(folder.path / _ROWS, shown, folder)


def _stamps(files: list[Path]) -> list[Any]:
    stats = [(str(path.resolve()), path.stat()) for path in files if path.is_file()]
    return [[name, found.st_size, found.st_mtime_ns] for name, found in stats]


def _files_of(folder: Path) -> list[Path]:
    known = (*_LINES, *_CSV, *_PARQUET)
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
        suffix = path.suffix.lower()
        if suffix in _CSV:
            yield from _csv(path, _CSV[suffix])
        elif suffix in _PARQUET:
            yield from _parquet(path)
        else:
            yield from (line.value for line in read_jsonl(path))


def _csv(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(1 << 30)  # a prompt is longer than the module's 131,072 characters
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            _check_header(reader.fieldnames or (), path)
            for row in reader:
                if None in row or None in row.values():
                    raise UserError(
                        "a row with another number of cells than the first line",
                        expected="one cell a column; a text with commas or line breaks in quotes",
                        path=path,
                        line=reader.line_num,
                    )
                yield row
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    except csv.Error as error:
        raise UserError(f"broken CSV ({error})", expected="a CSV file", path=path) from None
    except OSError as error:
        raise explain_os_error(error, path) from None


def _check_header(names: Sequence[str], path: Path) -> None:
    """Another separator than the ending says makes one column of the whole line."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if len(names) == 1 and separator in names[0]:
            raise UserError(
                f"one column called {names[0][:60]!r}: its cells are divided by {name}",
                expected="commas in .csv, tabs in .tsv",
                mend="name it .tsv" if separator == "\t" else "save it with commas, as .csv",
                path=path,
            )


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(ROWS):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(
            f"no readable Parquet ({first_line(error)})", expected="a Parquet file", path=path
        ) from None
    except OSError as error:
        raise explain_os_error(error, path) from None


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as they would stand in JSON Lines, a few at a time.

    Raises:
        UserError: the file is missing or is no Parquet.
    """
    return (_plain(row) for row in _parquet(path))


def csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV or TSV file, by its ending, a cell a text.

    Raises:
        UserError: the file is missing, no CSV, not UTF-8, or a row has another number of cells.
    """
    return _csv(path, _CSV[path.suffix.lower()])


def is_csv(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in _CSV


def without_null(value: Any) -> Any:
    """Parquet gives every row every key; those that a row does not have are null.

    >>> without_null({"prompt": "p", "chosen": None, "response": "r"})
    {'prompt': 'p', 'response': 'r'}
    """
    if isinstance(value, dict):
        return {key: without_null(one) for key, one in value.items() if one is not None}
    return [without_null(one) for one in value] if isinstance(value, list) else value


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
    if name.lower().endswith((*_LINES, *_CSV, *_PARQUET)) or Path(name).parent.is_dir():
        return False  # a path that is misspelt; asking the hub would only take time
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name))


def _hub(name: str, config: str | None, split: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"no such file or folder, and no data set of the hub that loads ({first_line(error)})",
            expected="a path, or the id of a data set",
            mend="check the spelling and the network; split and config stand in the --columns file",
            path=name,
        ) from None


def _plain(value: Any) -> Any:
    """JSON has no NaN; pandas writes one where a cell is empty. Text may be stored as bytes.

    >>> _plain({"text": "利润".encode(), "image": b"\\xff", "cell": math.nan})
    {'text': '利润', 'image': {'not UTF-8': 'ff'}, 'cell': None}
    """
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:  # no text: refused where one is needed
            return {"not UTF-8": value.hex()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)  # dates and the like, in metadata
