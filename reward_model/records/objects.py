"""One JSON object in a file: read where there is one, told to whom it was asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reward_model.records.errors import explain_os_error
from reward_model.records.files import Pathish, dump_json, parse_json, write_json

_UPPER = re.compile(r"[\x7f-\x9f]")


def read_object(path: Pathish, *, strict: bool = False) -> dict[str, Any] | None:
    """The JSON object that a file holds; None where there is no such file, or no object in it.

    Args:
        strict: take NaN and Infinity for no JSON. Python writes them, so do other libraries into
            their configurations.

    Raises:
        UserError: there is one, and no right to read it.

    >>> read_object("no/config.json") is None
    True
    """
    parse = parse_json if strict else json.loads
    try:
        value = parse(Path(path).read_bytes())
    except PermissionError as error:
        raise explain_os_error(error, path) from None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_result(result: Mapping[str, Any], json_to: Pathish | None) -> None:
    """One JSON object to a file, on a line of stdout for `-`, or nowhere.

    Raises:
        UserError: the file cannot be written.
    """
    if str(json_to) == "-":
        # JSON escapes what a terminal obeys, but for the upper half of it.
        sys.stdout.write(_UPPER.sub(lambda c: f"\\u{ord(c[0]):04x}", dump_json(result)) + "\n")
    elif json_to is not None:
        write_json(json_to, result)
