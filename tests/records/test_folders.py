"""Folders that appear whole: there is always one, and a failure leaves the old one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reward_model.records.folders import staged


def put(target: Path, text: str) -> None:
    with staged(target) as folder:
        (folder / "a").write_text(text)
        (folder / "in").mkdir()
        (folder / "in" / "b").write_text(text)


def test_a_reader_always_finds_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "best"
    put(target, "0")
    missed, over = [], threading.Event()

    def look() -> None:
        while not over.is_set():
            if not target.exists():
                missed.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(100):
        put(target, str(i))
    over.set()
    reader.join()
    assert not missed
    assert (target / "in" / "b").read_text() == "99"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_failure_leaves_the_old_one(tmp_path: Path) -> None:
    put(tmp_path / "best", "old")

    def fails() -> None:
        with staged(tmp_path / "best") as folder:
            (folder / "a").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert (tmp_path / "best" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_link_stays_and_leads_to_the_new_one(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "model", "old")
    link = tmp_path / "best"
    link.symlink_to(tmp_path / "disk" / "model")
    put(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "model" / "a").read_text() == "new"
    gone = tmp_path / "dangling"
    gone.symlink_to(tmp_path / "disk" / "not there yet")
    put(gone, "new")
    assert gone.is_symlink()
    assert (gone / "a").read_text() == "new"
