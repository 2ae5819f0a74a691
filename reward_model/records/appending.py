"""Files that runs go on with: one writer at a time, appended to line by line, mended after a kill.

The order everywhere: lock it (`locked`), know whose it is, then repair its tail (`repair_tail`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reward_model.records.errors import UserError, explain_os_error
from reward_model.records.files import Pathish, dump_json, is_object, refuse_folder

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
        try:
            lock.acquire()
        except Timeout:
            if place.exists():
                raise
            lock.acquire(timeout=1)  # it was let go at this moment, or cannot be made there
    except Timeout:
        if not place.exists():
            raise UserError(
                "a folder that no file can be made in", expected="another place", path=path
            ) from None
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


_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
"""Windows would write other ends of lines without the last."""


class Appender:
    """Append JSON lines to a file that may be killed at any moment.

    Opening repairs the tail (`repair_tail`): see first whose file it is. Every line is one write to
    the operating system, so a killed process loses nothing it appended; `close` also flushes to
    the disk.

    Raises:
        UserError: the place cannot be written.
    """

    def __init__(self, path: Pathish) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            repair_tail(self.path)
            self._handle = os.open(self.path, _APPEND, 0o666)
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
    """Mend the last line of a file of JSON objects that somebody was killed in writing.

    Where what follows the last newline is a whole object it gets its newline, else it is cut.

    Returns:
        Whether something was cut.
    """
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
        file.seek(end)
        tail = file.read()
        if not tail:
            return False
        if is_object(tail):
            file.write(b"\n")
            return False
        file.truncate(end)
        return True
