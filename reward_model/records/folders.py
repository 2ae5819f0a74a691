"""A folder that appears whole, or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from reward_model.records.errors import UserError, explain_os_error, first_line
from reward_model.records.files import Pathish, usual_mode


@contextlib.contextmanager
def staged(folder: Pathish) -> Iterator[Path]:
    """A folder to fill that takes the place of `folder` when the block ends, whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    target = Path(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise explain_os_error(error, target.parent) from None
    try:
        yield staging
        make_readable(staging)
        if target.exists():
            shutil.rmtree(target)
        staging.replace(target)
    except OSError as error:
        raise explain_os_error(error, target) from None
    except SafetensorError as error:  # as safetensors puts a full disk
        raise UserError(
            f"a model that could not be written ({first_line(error)})",
            expected="room on the disk, and the right to write there",
            path=target,
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def make_readable(folder: Path) -> None:
    """Give a folder and all in it the permissions of new files: temporary ones are private."""
    mode = usual_mode()
    for place in (folder, *folder.rglob("*")):
        if not place.is_symlink():
            place.chmod(mode | (mode & 0o444) >> 2 if place.is_dir() else mode)
