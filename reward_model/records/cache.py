"""Folders of things that are costly to make again: made whole or not at all, kept by content.

`made(cache_root(None), "tokens-1f2e", make, good)` gives the folder, from an earlier run where it
has one. Whatever is in the cache can be deleted at any time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_model.records import explain_os_error
from reward_model.records.folders import make_readable

NONE = "none"
"""Setting that keeps nothing: a temporary folder that lives as long as it is used."""


def cache_root(setting: str | None) -> Path | None:
    """Folder of the cache; None for `none`.

    >>> cache_root("none") is None
    True
    >>> str(cache_root("/data/cache"))
    '/data/cache'
    """
    if setting == NONE:
        return None
    if setting:
        return Path(setting).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "multidim-reward"


@dataclass(frozen=True)
class Folder:
    """A folder that is there as long as this object is."""

    path: Path
    kept: bool
    """It will be found again by the next run."""
    _temporary: Any = None


def made(
    root: Path | None, name: str, make: Callable[[Path], None], good: Callable[[Path], bool]
) -> Folder:
    """The folder `name`, made by `make` if it is not there or not `good`.

    It is made beside its place and renamed, so a run that is killed leaves no half of it under its
    name. Without a root, or where the root cannot be written, it is temporary.

    Raises:
        UserError: no space, or another fault of the disk.
    """
    if root is not None:
        place = root / name
        if place.is_dir() and good(place):
            return Folder(place, kept=True)
        if _can_write(root):
            _make_at(place, make, good)
            return Folder(place, kept=True)
    temporary = tempfile.TemporaryDirectory(prefix="multidim-reward-")
    folder = Path(temporary.name)
    try:
        make(folder)
    except OSError as error:
        raise explain_os_error(error, folder) from None
    return Folder(folder, kept=False, _temporary=temporary)


def _can_write(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(root, os.W_OK | os.X_OK)


def _make_at(place: Path, make: Callable[[Path], None], good: Callable[[Path], bool]) -> None:
    building = None
    try:
        building = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        make(building)
        make_readable(building)
        if place.exists() and not good(place):
            shutil.rmtree(place)
        if not place.exists():  # else another run was quicker, with the same content
            building.rename(place)
            building = None
    except OSError as error:
        if not (place.is_dir() and good(place)):
            raise explain_os_error(error, place) from None
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
