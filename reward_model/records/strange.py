"""What a file is that was to be JSON Lines and is not: for messages that say how to mend it."""

from __future__ import annotations

_KINDS = (
    (b"\x1f\x8b", "a file compressed with gzip", "unpack it: gunzip -k FILE"),
    (b"BZh", "a file compressed with bzip2", "unpack it: bunzip2 -k FILE"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd", "unpack it: unzstd FILE"),
    (b"PK\x03\x04", "a zip archive or a sheet of Excel", "unpack it, or save the sheet as CSV"),
    (b"PAR1", "a Parquet file under another name", "give it a name that ends in .parquet"),
    (b"\xff\xfe", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    (b"\xfe\xff", "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
)


def instead_of_text(start: bytes) -> tuple[str, str] | None:
    """(what it is, how to mend it), by the first bytes; None for what is not known.

    >>> instead_of_text(b"PAR1...")
    ('a Parquet file under another name', 'give it a name that ends in .parquet')
    """
    return next(((found, mend) for magic, found, mend in _KINDS if start.startswith(magic)), None)


def instead_of_lines(first: str) -> tuple[str, str] | None:
    """The same for a first line that is no JSON: one document spread over several lines.

    >>> instead_of_lines("[")[0], instead_of_lines("{")[0], instead_of_lines("{broken")
    ('one JSON list over several lines', 'one JSON object over several lines', None)
    """
    kind = {"[": "list", "{": "object"}.get(first.strip()[:1])
    if kind is None or first.strip() not in ("[", "{", "[{"):
        return None
    take = ".[]" if kind == "list" else "."
    return (
        f"one JSON {kind} over several lines",
        f"put each object on a line of its own: jq -c '{take}' FILE > FILE.jsonl",
    )
