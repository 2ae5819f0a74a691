"""TOML files that people write: every mistake in one sentence, wherever the file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datagen.settings import resolve as datagen_settings
from judge.settings import resolve as judge_settings
from reward_model.data.columns import read_columns
from reward_model.llm.prices import Prices
from reward_model.records import UserError
from reward_model.records.chat.templates import load_template
from reward_model.rubrics import load_rubric
from reward_model.train.config import resolve as train_settings

READERS: dict[str, Callable[[Path], Any]] = {
    "rubric": load_rubric,
    "columns": read_columns,
    "chat": lambda path: load_template(str(path)),
    "train": lambda path: train_settings(Path("a.jsonl"), None, path, {}),
    "prices": Prices.load,
    "judge": lambda path: judge_settings({}, path),
    "datagen": lambda path: datagen_settings({}, path),
}
EVERY = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@EVERY
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = [1", "broken TOML"),
        ("a = '营收'".encode("gb18030"), "not UTF-8"),
        (b"aa = 1\nbb = 2\n", r"mistakes: .*aa.*; .*bb.*; expected "),
        (None, "no such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_name(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes | None, words: str
) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")


@EVERY
def test_a_byte_order_mark_is_no_part_of_the_file(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbfzz = 1\n")
    with pytest.raises(UserError, match="zz"):
        read(path)


def test_a_long_value_is_shown_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"samples = '{'x' * 500}'\n")
    with pytest.raises(UserError, match="samples: 'xxx") as error:
        judge_settings({}, path)
    assert len(str(error.value)) < 300
