"""Whether a folder is there; one that appears whole, or not at all; what may be written over."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reward_model.records.errors import UserError, explain_os_error, first_line
from reward_model.records.files import Pathish, usual_mode
from reward_model.records.objects import read_object

_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP}


def is_there(path: Pathish) -> bool:
    """Whether something is there. From Python 3.14 on `Path.exists` says no of what there is no
    right to look at, too.

    Raises:
        OSError: it cannot be told.
    """
    return _mode(path) is not None


def is_folder(path: Pathish) -> bool:
    """Whether a folder is there, in place of `Path.is_dir`, like `is_there`.

    Raises:
        OSError: it cannot be told.
    """
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: Pathish) -> int | None:
    try:
        return Path(path).stat().st_mode
    except ValueError:  # a NUL, which no name has
        return None
    except OSError as error:
        if error.errno in _NOTHING or sys.platform == "win32":
            return None
        raise


@contextlib.contextmanager
def staged(folder: Pathish) -> Iterator[Path]:
    """A folder to fill that takes the place of `folder` when the block ends, whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    from safetensors import SafetensorError  # not for every command

    target = Path(folder)
    if target.is_symlink():  # the link stays, and what it points to is replaced
        target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise explain_os_error(error, target.parent) from None
    try:
        yield staging
        make_readable(staging)
        _put(staging, target)
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


def _put(staging: Path, target: Path) -> None:
    """Put one folder in the place of another; what stood there is in `staging` afterwards.

    Whoever loads the model meanwhile finds the old one or the new one. Linux exchanges two names
    at once; elsewhere there is a moment between two renames, and a failed one is taken back.
    """
    if not target.exists():
        staging.replace(target)
        return
    if _exchange(staging, target):
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)) / "old"
    try:
        target.replace(aside)
        try:
            staging.replace(target)
        except OSError:
            aside.replace(target)
            raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


_LINUX = platform.system() == "Linux"


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, where the system can (renameat2 of Linux 3.15 and glibc 2.28)."""
    if not _LINUX:
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, bytes(one), here, bytes(other), swap) == 0


_CONTENT = re.compile(
    r"(.+\.(jsonl|parquet|csv|tsv|arrow|safetensors|bin|pt|toml|gguf|onnx|model|lock)|README\.md"
    r"|(adapter_|generation_)?config\.json|(special_)?tokens?.*\.json|vocab\..+|merges\.txt"
    r"|dataset_(dict|info)\.json|state\.json|.+\.index\.json)"
)
"""What makes a folder a model or a data set; a report that lies beside it is not."""


def check_outputs(
    outputs: Mapping[str, Pathish | None], inputs: Iterable[Pathish | None] = ()
) -> None:
    """Said before the work instead of after it: no output is an input, a folder, or another output.

    Args:
        outputs: flag -> file it names; None and `-` (stdout) are fine.
        inputs: files, and folders of a model or a data set; links are followed.

    Raises:
        UserError: naming the flag, and what writing there would destroy.
    """
    if all(name is None or str(name) == "-" for name in outputs.values()):
        return
    read = [place for one in inputs if one is not None for place in _files(Path(one))]
    taken: list[tuple[str, Path]] = []
    for flag, name in outputs.items():
        if name is None or str(name) == "-":
            continue
        place = Path(name)
        if place.is_dir():
            raise UserError("a folder", expected="a file to write", path=name)
        if any(_same(place, other) for other in read):
            raise UserError(
                f"the input itself as {flag}, which would be written over",
                expected="another file",
                path=name,
            )
        for before, other in taken:
            if _same(place, other):
                raise UserError(
                    f"one file for {before} and {flag}", expected="a file for each", path=name
                )
        taken.append((flag, place))


def _files(place: Path) -> Iterator[Path]:
    yield place
    if place.is_dir():
        for folder, _, names in os.walk(place):  # what cannot be read is nobody's input
            yield from (Path(folder, name) for name in names if _CONTENT.fullmatch(name))


def _same(one: Path, other: Path) -> bool:
    try:
        if one.exists() and not one.is_file():  # a pipe or /dev/null is nobody's data
            return False
        if one.exists() and other.exists():
            return one.samefile(other)
    except OSError:
        return False
    return os.path.realpath(one) == os.path.realpath(other)


def check_replaceable(out: Pathish, sign: str) -> None:
    """A file that is to be written over is one that the same command wrote, with its settings
    beside it.

    Args:
        out: the file.
        sign: a setting that no other command writes down.

    Raises:
        UserError: it is somebody else's.
    """
    config = Path(f"{out}.config.json")
    if Path(out).is_file() and sign not in (read_object(config) or {}):
        raise UserError(
            "a file that this command did not write, and would write over",
            expected=f"{config.name} of an earlier run beside it, or a new name",
            mend="choose another file to write to",
            path=out,
        )


def check_named(path: Pathish, flag: str = "--out") -> None:
    """What is written whole has a name.

    Raises:
        UserError: it is stdout's.
    """
    if str(path) == "-":
        raise UserError(f"{flag} -", expected="the name of a file, which is written whole")
