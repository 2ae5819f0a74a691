"""Encode many texts into the files that `reward_model.data.tokens.store` maps, on one core or all.

`write(folder, samples, builder)`; every text's ids follow from the text alone, so the files are the
same however many processes made them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import traceback
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reward_model.data.sample import Sample
from reward_model.data.tokens.inputs import Encoded, InputBuilder
from reward_model.records import UserError
from reward_model.records.terminal import progress

_MANY, _MANY_CHECKED = 2000, 300
"""Texts from which on a bar is shown, and processes are worth their start: of texts whose figures
are checked fewer, as each takes some 10 ms."""
PROMPT_CUT, RESPONSE_CUT = 1, 2
_CHUNK = 64
"""Texts in memory at once."""
_FAILED = 250
"""Exit code of a process with an error that is none of the system's, whose numbers are smaller."""
_LOOK = 0.2
"""Seconds between two looks at the other processes."""

Told = Callable[[int], object]
"""Called with the number of texts done since the last call."""


def usable_cores() -> int:
    """Cores this process may run on."""
    count = getattr(os, "sched_getaffinity", None)
    return len(count(0)) if count else os.cpu_count() or 1


def are_many(samples: Sequence[Sample], builder: InputBuilder) -> bool:
    """Whether encoding takes so long that a bar and processes are worth it."""
    return len(samples) >= (_MANY_CHECKED if builder.evidence == "checks" else _MANY)


def write(folder: Path, samples: Sequence[Sample], builder: InputBuilder) -> None:
    """Encode in this process.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    if not are_many(samples, builder):
        _write(folder, samples, builder, lambda count: None)
        return
    with progress(transient=True) as bar:
        task = bar.add_task("tokens", total=len(samples), note="")
        _write(folder, samples, builder, lambda count: bar.update(task, advance=count))


def write_shared(
    folder: Path, samples: Sequence[Sample], builder: InputBuilder, workers: int
) -> None:
    """Encode in `workers` processes, a run of texts each, and put the parts together.

    Raises:
        OSError: the disk is full or cannot be written.
        UserError: the texts cannot be read any more.
    """
    workers = min(workers, len(samples))
    if workers < 2 or "fork" not in multiprocessing.get_all_start_methods():
        write(folder, samples, builder)
        return
    # Forked, a process has texts and tokenizer without copying them. Each writes a part of its own
    # and ends by itself, so none is left over when this one is killed.
    context: Any = multiprocessing.get_context("fork")
    bounds = np.linspace(0, len(samples), workers + 1).astype(int).tolist()
    parts = [folder / f"part-{i}" for i in range(workers)]
    done = context.Array("q", workers, lock=False)
    mistakes = context.SimpleQueue()
    running = [
        context.Process(
            target=_part,
            args=(part, samples[start:end], builder, done, mistakes, i),
            name=f"tokens-{i}",
        )
        for i, (part, start, end) in enumerate(zip(parts, bounds, bounds[1:], strict=False))
    ]
    for process in running:
        process.start()
    try:
        with progress(transient=True) as bar:
            task = bar.add_task("tokens", total=len(samples), note="")
            for process in running:
                while process.is_alive():
                    process.join(_LOOK)
                    bar.update(task, completed=sum(done))
    finally:
        for process in running:
            process.terminate()
            process.join()
    if not mistakes.empty():
        raise mistakes.get()
    for process in running:
        if process.exitcode == _FAILED:
            raise RuntimeError("a process encoding texts failed; its traceback is above")
        if process.exitcode:
            code = max(process.exitcode, 0)
            raise OSError(
                code, os.strerror(code) if code else "a process encoding texts was killed"
            )
    _join(folder, parts)


def _part(
    folder: Path,
    samples: Sequence[Sample],
    builder: InputBuilder,
    done: Any,
    mistakes: Any,
    place: int,
) -> None:
    """What one process does; its exit code is the number of an error of the system."""
    # Ctrl-C is for the parent, which ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = os.getppid()

    def told(count: int) -> None:
        done[place] += count
        if os.getppid() != parent:
            os._exit(1)  # nobody is left to read what is written

    try:
        folder.mkdir()
        _write(folder, samples, builder, told)
    except OSError as error:
        os._exit(error.errno or 1)
    except UserError as error:
        mistakes.put(error)
    except BaseException:
        traceback.print_exc()
        os._exit(_FAILED)


def _join(folder: Path, parts: Sequence[Path]) -> None:
    sizes = [np.load(part / "offsets.npy") for part in parts]
    with (folder / "tokens.npy").open("wb") as file:
        _header(file, sum(int(ends[-1]) for ends in sizes))
        for part in parts:
            with (part / "tokens.npy").open("rb") as own:
                np.lib.format.read_magic(own)
                np.lib.format.read_array_header_1_0(own)
                shutil.copyfileobj(own, file, 1 << 20)
        _sync(file)
    lengths = np.concatenate([np.diff(ends) for ends in sizes])
    _save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    for name in ("cuts.npy", "answers.npy", "second.npy"):
        if (parts[0] / name).exists():
            _save(folder / name, np.concatenate([np.load(part / name) for part in parts]))
    _told(folder, len(lengths))
    for part in parts:
        shutil.rmtree(part)


def _write(folder: Path, samples: Sequence[Sample], builder: InputBuilder, told: Told) -> None:
    ends, cuts = array("q", [0]), array("B")
    answers, second = array("i"), array("i")
    with (folder / "tokens.npy").open("wb") as file:
        _header(file, 0)
        for chunk in _chunks(samples, builder):
            for one in chunk:
                ends.append(ends[-1] + len(one.input_ids))
                cuts.append(PROMPT_CUT * one.prompt_cut + RESPONSE_CUT * one.response_cut)
                answers.append(one.answer_tokens)
                if one.token_type_ids is not None:
                    second.append(len(one.input_ids) - sum(one.token_type_ids))
            ids = np.fromiter((i for one in chunk for i in one.input_ids), np.int32)
            file.write(ids.tobytes())
            told(len(chunk))
        # A header has room for a larger number, so it is written again in its place.
        file.seek(0)
        _header(file, ends[-1])
        _sync(file)
    _save(folder / "offsets.npy", np.frombuffer(ends, np.int64))
    _save(folder / "cuts.npy", np.frombuffer(cuts, np.uint8))
    _save(folder / "answers.npy", np.frombuffer(answers, np.int32))
    if second:
        _save(folder / "second.npy", np.frombuffer(second, np.int32))
    _told(folder, len(cuts))


def _chunks(samples: Sequence[Sample], builder: InputBuilder) -> Iterator[list[Encoded]]:
    rest = iter(samples)
    while chunk := [(s.prompt, s.response) for s in islice(rest, _CHUNK)]:
        yield builder.build([prompt for prompt, _ in chunk], [response for _, response in chunk])


def _header(file: IO[bytes], count: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)


def _save(path: Path, column: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, column)
        _sync(file)


def _told(folder: Path, texts: int) -> None:
    with (folder / "texts.json").open("wb") as file:
        file.write(json.dumps({"texts": texts}).encode())
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
