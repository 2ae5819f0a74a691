"""Files: JSONL read with line numbers, written whole or appended line by line.

A file written whole appears under its name complete or not at all. A file appended to is good up
to its last newline whatever killed the writer; opening it again removes a torn last line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from reward_model.records.errors import UserError, explain_os_error

Pathish = str | os.PathLike[str]


class Line(NamedTuple):
    """One JSON object of a JSONL file."""

    number: int
    """1-based line in the file."""
    value: dict[str, Any]
    raw: bytes
    """The line as it stands in the file, with its newline if it has one."""
    offset: int = 0
    """Byte at which the line begins."""


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def parse_json(text: str | bytes) -> Any:
    """`json.loads` that refuses NaN and Infinity, which are not JSON."""
    return json.loads(text, parse_constant=_no_constant)


def read_jsonl(path: Pathish, *, allow_empty: bool = False) -> Iterator[Line]:
    """Yield the objects of a JSONL file one at a time, skipping blank lines.

    Raises:
        UserError: the file is missing, a folder, unreadable, empty, not UTF-8, or a line of it is
            not a JSON object.
    """
    seen = False
    end = 0
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(file, 1):
                start, end = end, end + len(raw)
                body = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if not body.strip():
                    continue
                yield Line(number, _parse_line(body, path, number), raw, start)
                seen = True
    except OSError as error:
        raise explain_os_error(error, path) from None
    if not seen and not allow_empty:
        raise UserError(
            "an empty file", expected="JSON Lines, one object a line, in UTF-8", path=path
        )


def _parse_line(body: bytes, path: Pathish, number: int) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"bytes that are not UTF-8 (byte {error.start + 1} of the line)",
            expected="UTF-8 text",
            mend="convert the file, for example with iconv -f GB18030 -t UTF-8",
            path=path,
            line=number,
        ) from None
    try:
        value = parse_json(text)
    except (ValueError, RecursionError) as error:
        what = getattr(error, "msg", str(error))
        column = getattr(error, "colno", None)
        at = f" at column {column}" if column else ""
        raise UserError(
            f"broken JSON ({what}{at})",
            expected="one JSON object on the line",
            path=path,
            line=number,
        ) from None
    if (b"\\ud" in body or b"\\uD" in body) and _has_half(value):
        raise UserError(
            "half of a character (a lone surrogate such as \\ud800)",
            expected="valid Unicode",
            path=path,
            line=number,
        )
    if not isinstance(value, dict):
        raise UserError(
            f"a JSON {_json_type(value)}",
            expected="a JSON object, as in JSON Lines",
            mend="put one {...} on each line",
            path=path,
            line=number,
        )
    return value


def _has_half(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def read_text(path: Pathish) -> str:
    """A whole text file, without its byte order mark.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    try:
        return decode(Path(path).read_bytes(), path)
    except OSError as error:
        raise explain_os_error(error, path) from None


def decode(content: bytes, path: Pathish | None = None) -> str:
    """The text of a file's bytes, without its byte order mark; `path` is for messages.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(
            "bytes that are not UTF-8",
            expected="UTF-8 text",
            mend="convert the file, for example with iconv -f GB18030 -t UTF-8",
            path=path,
        ) from None


def dump_json(value: Any) -> str:
    """One line of JSON with readable Chinese; refuses NaN and Infinity.

    >>> dump_json({"a": "万"})
    '{"a": "万"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def digest(value: Any, length: int = 12) -> str:
    """A short stable fingerprint of text, bytes or any JSON value.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode()
    else:
        data = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode()
    return hashlib.sha256(data).hexdigest()[:length]


def refuse_folder(*places: Pathish | None) -> None:
    """Said before the work instead of after it: a folder cannot be written as a file.

    Args:
        places: where output goes; None and `-` (stdout) are fine.

    Raises:
        UserError: one of them is a folder.
    """
    for place in places:
        if place not in (None, "-") and Path(str(place)).is_dir():
            raise UserError("a folder", expected="a file to write", path=place)


@contextlib.contextmanager
def writing(path: Pathish) -> Iterator[IO[bytes]]:
    """Open a file that appears under `path` only when the block ends without an exception.

    The bytes go to a temporary file beside it, are flushed to the disk and then renamed.

    Raises:
        UserError: the place cannot be written.
    """
    refuse_folder(path)
    target = Path(path)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; what is published gets the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise explain_os_error(error, path) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Pathish, text: str) -> None:
    """Write a whole text file at once, or nothing."""
    with writing(path) as file:
        file.write(text.encode())


def write_json(path: Pathish, value: Any) -> None:
    """Write a whole indented JSON file at once, or nothing."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_jsonl(path: Pathish, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a whole JSONL file at once, or nothing; returns the number of rows."""
    count = 0
    with writing(path) as file:
        for row in rows:
            file.write(dump_json(row).encode() + b"\n")
            count += 1
    return count


@contextlib.contextmanager
def locked(path: Pathish) -> Iterator[None]:
    """Keep other runs out of a file for the length of the block; nothing in it is changed.

    The lock goes with the process. A file that was made for it and is still empty goes with it.

    Raises:
        UserError: another run has it, or the place cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = not target.exists()
        handle = os.open(target, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise explain_os_error(error, path) from None
    try:
        if not lock(handle):
            raise UserError(
                "a file that another run is writing",
                mend="wait for it to end, or name another file",
                path=path,
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if made and target.stat().st_size == 0:
                    target.unlink()
    finally:
        os.close(handle)


def lock(handle: int) -> bool:
    """Keep other processes out of an open file; False where one of them has it.

    The lock goes with the process, so none is ever left behind. Where there are no locks, the file
    is taken to be this process's alone.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return os.fstat(handle).st_nlink > 0  # else its last owner has just removed it


class Appender:
    """Append JSON lines to a file that may be killed at any moment.

    Opening removes a torn last line. Every line is one write to the operating system, so a killed
    process loses nothing it appended; `close` also flushes to the disk.

    Raises:
        UserError: the place cannot be written.
    """

    def __init__(self, path: Pathish) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            repair_tail(self.path)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise explain_os_error(error, path) from None

    def append(self, row: Mapping[str, Any]) -> int:
        """Append one row and return the byte at which its line begins.

        A write that fails half-way (disk full) is taken back.
        """
        data = dump_json(row).encode() + b"\n"
        end = os.lseek(self._handle, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, end)
            raise explain_os_error(error, self.path) from None
        return end

    def close(self) -> None:
        """Flush to the disk and close."""
        if self._handle >= 0:
            os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def repair_tail(path: Pathish) -> bool:
    """Cut what follows the last newline of a file, if anything; True when something was cut."""
    target = Path(path)
    if not target.exists() or target.stat().st_size == 0:
        return False
    with target.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end == size:
            return False
        file.truncate(end)
        return True
