"""One writer at a time: `with locked(path):` keeps other runs out of a file.

The order wherever something is gone on with: lock it, know whose it is, then repair its tail.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from reward_model.records.errors import UserError, explain_os_error
from reward_model.records.files import Pathish, refuse_folder

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""A file system without locks: the file is taken to be this process's alone."""


@contextlib.contextmanager
def locked(
    path: Pathish,
    *,
    found: str = "a file that another run is writing",
    expected: str = "",
    mend: str = "wait for it to end, or name another file",
) -> Iterator[None]:
    """Keep other runs out of `path` for the length of the block; nothing in it is touched.

    What is locked is a file of its own, `.NAME.lock` beside it, which goes when the block ends; the
    lock goes with the process, so a killed one leaves none behind. To keep others out of a folder,
    lock a file in it that every run writes.

    Args:
        path: a file; it need not be there yet.
        found, expected, mend: what a second run is told.

    Raises:
        UserError: another run has it, or the place cannot be written.
    """
    from filelock import FileLock, Timeout

    refuse_folder(path)
    target = Path(os.path.realpath(path))
    folder, place = target.parent, target.with_name(f".{target.name}.lock")
    missing = _missing(folder)
    lock = FileLock(place, timeout=0, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(found, expected=expected, mend=mend, path=path) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise explain_os_error(error, path) from None
    try:
        yield
    finally:
        if lock.is_locked:
            # While it is held: whoever opened it meanwhile sees that it is gone and tries anew.
            with contextlib.suppress(OSError):
                place.unlink()
            lock.release()
        for made in missing:
            with contextlib.suppress(OSError):  # not empty: something was written
                made.rmdir()


def _missing(folder: Path) -> list[Path]:
    """Folders that are not there yet, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]
