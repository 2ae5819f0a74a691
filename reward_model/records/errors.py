"""What a person is told when something is wrong, and which exit code says it.

Exit codes: 0 done; 1 the check found problems; 2 wrong use or wrong input, with one line that says
what was found, what was expected and how to mend it; 3 stopped early with the work saved.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path


class UserError(Exception):
    """Wrong use or wrong input; the message is complete and needs no traceback (exit code 2).

    Args:
        found: what is there, as a clause: ``"level 5 in scores.chosen.depth"``.
        expected: what should be there: ``"an integer from 0 to 4 or null"``.
        mend: what to do about it, if that is not plain from `expected`.
        path: the file it was found in.
        line: 1-based line in that file.

    >>> print(UserError("level 5", expected="an integer from 0 to 4", path="a.jsonl", line=7))
    a.jsonl, line 7: found level 5; expected an integer from 0 to 4
    """

    def __init__(
        self,
        found: str,
        *,
        expected: str = "",
        mend: str = "",
        path: str | os.PathLike[str] | None = None,
        line: int | None = None,
    ) -> None:
        self.found, self.expected, self.mend = found, expected, mend
        self.path = None if path is None else Path(path)
        self.line = line
        where = "" if path is None else os.fspath(path)
        if line is not None:
            where = f"{where}, line {line}" if where else f"line {line}"
        parts = [f"found {found}" if where or expected else found]
        if expected:
            parts.append(f"expected {expected}")
        if mend:
            parts.append(mend)
        super().__init__((f"{where}: " if where else "") + "; ".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.found, self.expected, self.mend, self.path, self.line)


def _rebuild(
    found: str, expected: str, mend: str, path: Path | None, line: int | None
) -> UserError:
    return UserError(found, expected=expected, mend=mend, path=path, line=line)


class Stopped(Exception):  # noqa: N818 - not an error: the work so far is saved
    """Stopped early with the work saved; the same command goes on (exit code 3)."""


def explain_os_error(error: OSError, path: str | os.PathLike[str] | None = None) -> UserError:
    """Turn an operating system error into words.

    >>> print(explain_os_error(FileNotFoundError(2, "No such file", "pairs.jsonl")))
    pairs.jsonl: found no such file or folder; expected an existing one; check the spelling
    """
    name = path if path is not None else error.filename
    known = {
        errno.ENOENT: ("no such file or folder", "an existing one", "check the spelling"),
        errno.EISDIR: ("a folder", "a file", "name a file inside it"),
        errno.ENOTDIR: ("a file where a folder is needed", "a folder", "choose another place"),
        errno.EEXIST: ("a file where a folder is needed", "a folder", "choose another place"),
        errno.EACCES: ("no right to read or write it", "", "change its permissions or its place"),
        errno.EPERM: ("no right to read or write it", "", "change its permissions or its place"),
        errno.EROFS: ("a read-only file system", "", "choose a place that can be written"),
        errno.ENOSPC: ("no space left on the disk", "", "free some space and run it again"),
        errno.EDQUOT: ("the disk quota used up", "", "free some space and run it again"),
    }
    found, expected, mend = known.get(error.errno or 0, (str(error), "", ""))
    return UserError(found, expected=expected, mend=mend, path=name if name else None)


def first_line(error: Exception) -> str:
    """What is worth showing of an error of another library: the rest is advice to programmers.

    >>> first_line(ValueError("no such layer\\nSee the documentation of ..."))
    'no such layer'
    >>> first_line(ValueError("Error for field 'size':\\n    expected int\\n  at ..."))
    "Error for field 'size': expected int"
    """
    first, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more.

    >>> some_of(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def require(what: str, extra: str, *modules: str) -> None:
    """See that an extra of this package is installed.

    Args:
        what: needs it, in words.
        extra: its name in `pip install 'multidim-reward[...]'`.
        modules: what it brings, with the versions it works with where only some do:
            ``"trl>=1.15,<2"``.

    Raises:
        UserError: a module is missing, or has another version.
    """
    from packaging.requirements import Requirement

    needed = [Requirement(name) for name in modules]
    mend = f"pip install 'multidim-reward[{extra}]'"
    missing = [one.name for one in needed if importlib.util.find_spec(one.name) is None]
    if missing:
        raise UserError(
            f"no {' and no '.join(missing)}, which {what} needs",
            expected=f"the extra {extra}",
            mend=mend,
        )
    for one in needed:
        if not one.specifier:
            continue
        version = importlib.metadata.version(one.name)
        if not one.specifier.contains(version, prereleases=True):
            raise UserError(
                f"{one.name} {version}",
                expected=f"{one}, which {what} needs",
                mend=mend,
            )


_CONVERT = "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"
_KINDS = (
    (b"\x1f\x8b", "a file compressed with gzip", "unpack it: gunzip < FILE > NEW"),
    (b"BZh", "a file compressed with bzip2", "unpack it: bunzip2 -k FILE"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd", "unpack it: unzstd FILE"),
    (b"PK\x03\x04", "a zip archive or a sheet of Excel", "unpack it, or save the sheet as CSV"),
    (b"PAR1", "a Parquet file under another name", "give it a name that ends in .parquet"),
    (b"\xff\xfe", "UTF-16 text", _CONVERT),
    (b"\xfe\xff", "UTF-16 text", _CONVERT),
)


_AS_LINES = "write its rows as JSON Lines (pandas: to_json(FILE, orient='records', lines=True))"


def instead_of_text(
    start: bytes, path: str | os.PathLike[str] | None = None
) -> tuple[str, str] | None:
    """(what it is, how to mend it), by the first bytes; None for what is not known.

    >>> instead_of_text(b"PAR1...")
    ('a Parquet file under another name', 'give it a name that ends in .parquet')
    """
    if start.startswith(b"PAR1") and path is not None and str(path).endswith(".parquet"):
        return "a Parquet file", _AS_LINES
    for at, kind in ((1, "LE"), (0, "BE")):
        # ASCII comes as every other byte nothing, where no mark says which.
        if len(start) >= 4 and not any(start[at:8:2]) and all(start[1 - at : 8 : 2]):
            return f"UTF-16 text ({kind}, without its mark)", _CONVERT.replace("16", f"16{kind}", 1)
    return next(((found, mend) for magic, found, mend in _KINDS if start.startswith(magic)), None)


def instead_of_lines(
    first: str, path: str | os.PathLike[str] | None = None
) -> tuple[str, str] | None:
    """The same for a first line that is no JSON: a table, or a document spread over several lines.

    >>> instead_of_lines("[")[0], instead_of_lines("{")[0], instead_of_lines("{broken")
    ('one JSON list over several lines', 'one JSON object over several lines', None)
    >>> instead_of_lines("id,prompt,response")[0]
    'what looks like a CSV file'
    """
    named = str(path or "").lower().endswith((".csv", ".tsv"))
    if named or re.fullmatch(r"\ufeff?\w+([,;\t]\w+)+", first.strip()):
        return "a CSV file" if named else "what looks like a CSV file", _AS_LINES
    kind = {"[": "list", "{": "object"}.get(first.strip()[:1])
    if kind is None or first.strip() not in ("[", "{", "[{"):
        return None
    take = ".[]" if kind == "list" else "."
    return (
        f"one JSON {kind} over several lines",
        f"put each object on a line of its own: jq -c '{take}' FILE > FILE.jsonl",
    )
