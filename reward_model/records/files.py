"""Files: JSONL read with line numbers, and files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from reward_model.records.errors import (
    UserError,
    explain_os_error,
    instead_of_lines,
    instead_of_text,
)

Pathish = str | os.PathLike[str]
PARTIAL = ".partial"
"""Ending of a file that is being written."""


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


def read_jsonl(
    path: Pathish, *, allow_empty: bool = False, torn: bool = False
) -> Generator[Line, None, None]:
    """Yield the objects of a JSONL file one at a time, skipping blank lines.

    Args:
        allow_empty: no line at all is no error.
        torn: leave out a last line without newline that is no whole object, which a killed writer
            left; `repair_tail` then cuts it.

    Raises:
        UserError: the file is missing, a folder, unreadable, empty, not UTF-8, or a line of it is
            not a JSON object.
    """
    seen = False
    end = 0
    check_plain(path)
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(file, 1):
                start, end = end, end + len(raw)
                body = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if not body.strip() or (torn and _is_torn(raw)):
                    continue
                yield Line(number, _parse_line(body, path, number), raw, start)
                seen = True
    except OSError as error:
        raise explain_os_error(error, path) from None
    if not seen and not allow_empty:
        raise UserError(
            "an empty file", expected="JSON Lines, one object a line, in UTF-8", path=path
        )


def _is_torn(raw: bytes) -> bool:
    return not raw.endswith(b"\n") and not is_object(raw)


def is_object(line: bytes) -> bool:
    """Whether a line is a whole JSON object.

    >>> is_object(b'{"a": 1}'), is_object(b'{"a": '), is_object(b"12")
    (True, False, False)
    """
    try:
        return isinstance(parse_json(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def _parse_line(body: bytes, path: Pathish, number: int) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        if number == 1 and (known := instead_of_text(body, path)) is not None:
            raise UserError(known[0], expected="UTF-8 text", mend=known[1], path=path) from None
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
        known = instead_of_text(body, path) or instead_of_lines(text, path) if number == 1 else None
        if known is not None:
            raise UserError(
                known[0], expected="one JSON object on each line", mend=known[1], path=path
            ) from None
        what = getattr(error, "msg", str(error))
        column = getattr(error, "colno", None)
        at = f" at column {column}" if column else ""
        raise UserError(
            f"broken JSON ({what.removesuffix(' at')}{at})",
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
            mend="put one {...} on each line"
            + (": jq -c '.[]' FILE > FILE.jsonl" if isinstance(value, list) else ""),
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
        raise not_utf8(path) from None


def not_utf8(path: Pathish | None) -> UserError:
    """What is said of a file in another encoding, or of another kind."""
    start = b""
    if path is not None:
        with contextlib.suppress(OSError), Path(path).open("rb") as file:
            start = file.read(8)
    found, mend = instead_of_text(start) or (
        "bytes that are not UTF-8",
        "convert the file, for example with iconv -f GB18030 -t UTF-8",
    )
    return UserError(found, expected="UTF-8 text", mend=mend, path=path)


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


def check_plain(path: Pathish) -> None:
    """No pipe and no device: what is read more than once, or gone on from, has to be a file.

    Raises:
        UserError: it is something else; what is not there is not looked at.
    """
    try:
        kind = Path(path).stat().st_mode
    except OSError:
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise UserError(
            "a pipe or a device",
            expected="a file, since it is read more than once",
            mend="write it to a file first",
            path=path,
        )


@contextlib.contextmanager
def writing(path: Pathish) -> Iterator[IO[bytes]]:
    """Open a file that appears under `path` only when the block ends without an exception.

    The bytes go to a temporary file beside it, are flushed to the disk and then renamed. A link
    stays a link: what it points to is written. A file that was there keeps its permissions. What
    is no plain file (a pipe, a terminal, `/dev/null`) is written as it is.

    Raises:
        UserError: the place cannot be written.
    """
    refuse_folder(path)
    temporary = None
    try:
        if Path(path).exists() and not Path(path).is_file():
            with Path(path).open("wb") as stream:
                yield stream
            return
        target = Path(os.path.realpath(path))
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else usual_mode()
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(PARTIAL, f".{target.name}.", target.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)  # mkstemp makes files private
        Path(temporary).replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise explain_os_error(error, path) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def usual_mode() -> int:
    """Permissions of a new file: readable and writable, less the umask."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def sweep(path: Pathish) -> None:
    """Remove what `writing(path)` left where it was killed; only while `path` is locked."""
    target = Path(os.path.realpath(path))
    left = re.compile(re.escape(f".{target.name}.") + r"[a-z0-9_]{8}" + re.escape(PARTIAL))
    with contextlib.suppress(OSError):
        for file in target.parent.iterdir():
            if left.fullmatch(file.name):
                file.unlink()


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
