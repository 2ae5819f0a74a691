"""Rows of every benchmark as one thing: a prompt, responses, and which of them are good.

The benchmark is known by its keys, so files, folders and data sets of the hub all do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reward_model.data.preferred import preferred, subset_of
from reward_model.data.sources import find_source
from reward_model.records import Message, Text, UserError, as_text, digest, read_jsonl, read_text
from reward_model.records.forms import two_sides

Form = Literal[
    "RewardBench",
    "RewardBench 2",
    "RM-Bench",
    "JudgeBench",
    "PPE preference",
    "PPE correctness",
    "LLMBar",
    "HelpSteer2 preference",
    "HelpSteer3 preference",
    "pairs",
]

REWARD_BENCH: dict[str, tuple[str, ...]] = {
    "Chat": (
        "alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med",
    ),
    "Chat Hard": (
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut", "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse",
        "xstest-should-respond", "donotanswer",
    ),
    "Reasoning": (
        "math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust",
    ),
}  # fmt: skip
"""Sections of RewardBench (Lambert et al. 2024, arXiv:2403.13787) and their subsets."""
_REWARD_BENCH_SUBSETS = {name for subsets in REWARD_BENCH.values() for name in subsets}


@dataclass(frozen=True)
class Item:
    """Responses to one prompt, the good ones first."""

    prompt: Text
    responses: tuple[str, ...]
    good: int
    """The first so many are the good ones."""
    subset: str
    group: str
    """What varies as a whole: rows of one prompt."""
    tied: bool = False
    """People saw no difference."""
    kind: str = ""
    """Of RewardBench 2's ties: `ref` or `tied`."""


@dataclass(frozen=True)
class Benchmark:
    """The items of one file."""

    name: str
    form: Form
    items: tuple[Item, ...]


def read_benchmark(place: str, *, split: str = "", config: str | None = None) -> Benchmark:
    """Read a benchmark by the form of its rows.

    Args:
        place: file (JSON, JSON Lines, CSV, Parquet), folder, or id of a data set of the hub.
        split: of a data set that has several.

    Raises:
        UserError: nothing there, or rows of no known form, or of several.
    """
    form: Form | None = None
    items: list[Item] = []
    for number, (row, where, beneath) in enumerate(_rows(place, split, config), 1):
        found = form_of(row)
        if found is None:
            raise UserError(
                f"keys {', '.join(map(str, list(row)[:8])) or 'none'}",
                expected="rows of a benchmark or pairs, as docs/bench.md lists them",
                path=where,
                line=number,
            )
        form = form or found
        if found != form:
            raise UserError(
                f"a row of {found} among those of {form}",
                expected="one form",
                path=where,
                line=number,
            )
        try:
            items.append(_READERS[form](row, beneath, number, where))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(
                f"a row that is no row of {form} ({type(error).__name__}: {error})",
                path=where,
                line=number,
            ) from None
    if form is None:
        raise UserError("no rows", expected="a benchmark", path=Path(place))
    name = Path(place).stem or place
    return Benchmark(name, form, tuple(items))


def form_of(row: Mapping[str, Any]) -> Form | None:
    """The benchmark a row is of, by its keys.

    >>> form_of({"input": "q", "output_1": "a", "output_2": "b", "label": 1})
    'LLMBar'
    """
    keys = set(row)
    several = isinstance(row.get("chosen"), list) and all(isinstance(c, str) for c in row["chosen"])
    if several and "domain" in keys:
        return "RM-Bench"
    if several and {"rejected", "subset"} <= keys:
        return "RewardBench 2"
    if {"response_A", "response_B", "label"} <= keys:
        return "JudgeBench"
    if {"output_1", "output_2", "label"} <= keys:
        return "LLMBar"
    if {"response_1", "response_2", "preference_strength"} <= keys:
        return "HelpSteer2 preference"
    if {"response1", "response2", "overall_preference"} <= keys:
        return "HelpSteer3 preference"
    if {"response_1", "scores"} <= keys:
        return "PPE correctness"
    if {"response_1", "response_2", "winner"} <= keys:
        return "PPE preference"
    if two_sides(row) is not None:
        return "pairs"
    if {"chosen", "rejected"} <= keys:
        return "RewardBench" if row.get("subset") in _REWARD_BENCH_SUBSETS else "pairs"
    return None


def _rows(
    place: str, split: str, config: str | None
) -> Iterator[tuple[Mapping[str, Any], Path, str]]:
    """(row, file, folder beneath the place) of every row."""
    path = Path(place)
    if path.is_dir() and not any((path / f"dataset_{n}.json").exists() for n in ("info", "dict")):
        lists = sorted(p for p in path.rglob("*.json") if p.is_file())
        if lists:
            for one in lists:
                beneath = "/".join(one.relative_to(path).parts[:-1])
                yield from ((row, one, beneath) for row in _listed(one))
            return
    if path.is_file() and path.suffix == ".json":
        yield from ((row, path, "") for row in _listed(path))
        return
    source = find_source(place, config=config, split=split or "train")
    for line in read_jsonl(source.path):
        yield line.value, source.shown, ""


def _listed(path: Path) -> list[Mapping[str, Any]]:
    """Rows of a JSON file that is one list; of JSON Lines under this name as well."""
    text = read_text(path)
    if text.lstrip()[:1] != "[":
        return [line.value for line in read_jsonl(path)]
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise UserError(f"broken JSON ({error})", path=path) from None
    if not all(isinstance(row, dict) for row in rows):
        raise UserError("a list of something else", expected="a list of objects", path=path)
    return list(rows)


def _reward_bench(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    return _item(row["prompt"], [row["chosen"]], [row["rejected"]], row["subset"])


def _reward_bench_2(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    subset, group, kind = str(row["subset"]), "", ""
    if subset.lower() == "ties":
        kind, _, group = str(row["id"]).partition(":")
        if kind not in ("ref", "tied") or not group:
            raise ValueError(f"id {row['id']!r} of a tie, not ref:N or tied:N")
    good = list(row["chosen"])[: int(row.get("num_correct") or len(row["chosen"]))]
    return _item(row["prompt"], good, list(row["rejected"]), subset, group=group, kind=kind)


def _rm_bench(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    if not len(row["chosen"]) == len(row["rejected"]) == 3:
        raise ValueError("not three chosen and three rejected")
    return _item(row["prompt"], row["chosen"], row["rejected"], row["domain"])


def _judge_bench(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    source = str(row.get("source") or "")
    subset = "knowledge" if source.startswith("mmlu-pro") else source
    names = {
        "livebench-reasoning": "reasoning", "livebench-math": "math", "livecodebench": "coding",
    }  # fmt: skip
    return _two(row, number, where, names.get(subset, subset))


def _llmbar(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    return _two(row, number, where, row.get("subset") or beneath.split("/")[-1])


def _helpsteer2(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    return _two(row, number, where, "")


def _helpsteer3(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    return _two(row, number, where, row.get("domain"))


def _ppe_preference(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    return _two(row, number, where, row.get("language"))


def _two(row: Mapping[str, Any], number: int, where: Path, subset: Any) -> Item:
    """Two responses and a preference, as the one reader of rows finds them."""
    found = preferred(row, path=where, line=number)
    group = digest(as_text(found.prompt), 16)
    texts = tuple(as_text(text) for text in found.completions)
    return Item(found.prompt, texts, 1, str(subset or "all"), group, found.tied)


def _ppe_correctness(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    right = [bool(one) for one in row["scores"]]
    texts = [row[f"response_{n}"] for n in range(1, len(right) + 1)]
    good = [text for text, yes in zip(texts, right, strict=True) if yes]
    bad = [text for text, yes in zip(texts, right, strict=True) if not yes]
    return _item(row["prompt"], good, bad, str(row.get("benchmark") or "all"))


def _pairs(row: Mapping[str, Any], beneath: str, number: int, where: Path) -> Item:
    found = preferred(row, path=where, line=number)
    texts = tuple(as_text(text) for text in found.completions)
    return Item(found.prompt, texts, 1, subset_of(row, found) or "all", found.group, found.tied)


_READERS = {
    "RewardBench": _reward_bench,
    "RewardBench 2": _reward_bench_2,
    "RM-Bench": _rm_bench,
    "JudgeBench": _judge_bench,
    "LLMBar": _llmbar,
    "HelpSteer2 preference": _helpsteer2,
    "HelpSteer3 preference": _helpsteer3,
    "PPE preference": _ppe_preference,
    "PPE correctness": _ppe_correctness,
    "pairs": _pairs,
}


def _item(
    prompt: Any, good: list[Any], bad: list[Any], subset: Any, *, group: str = "", kind: str = "",
) -> Item:  # fmt: skip
    text = _prompt(prompt)
    responses = [_response(one) for one in (*good, *bad)]
    return Item(
        text,
        tuple(responses),
        len(good),
        str(subset),
        group or digest(as_text(text), 16),
        kind=kind,
    )


def _prompt(prompt: Any) -> Text:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and prompt:
        return tuple(Message(role=one["role"], content=one["content"]) for one in prompt)
    raise ValueError("a prompt that is neither text nor messages")


def _response(response: Any) -> str:
    if isinstance(response, str):
        return response
    if isinstance(response, list) and response and isinstance(response[-1], dict):
        return str(response[-1]["content"])
    raise ValueError("a response that is no text")
