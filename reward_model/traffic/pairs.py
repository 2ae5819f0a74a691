"""Preference data from what people did: thumbs on the same prompt, and answers asked for again."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from reward_model.records import UserError
from reward_model.traffic.lines import Span, followed, is_torn, lines_of, parsed, spans
from reward_model.traffic.rows import check_readable, not_a_log
from reward_model.traffic.values import FEEDBACK, answer_of, keys_of, thumb, user_of

Format = Literal["pairs", "kto", "completions"]
FORMATS = ("pairs", "kto", "completions")
PER_USER = 3
_ROWS = "rows"
_AGAIN = "rows with the id of an earlier row"
_TEXTLESS = "rows without prompt or answer"


@dataclass(frozen=True)
class _Seen:
    """A row that matters, without its texts: where it stands and what people said."""

    span: int
    line: int
    id: str
    prompt: bytes
    response: bytes
    user: str
    up: bool | None
    replaces: str


@dataclass
class Made:
    """Rows of preference data, and what became of the log's rows."""

    rows: list[dict[str, Any]]
    counts: dict[str, int]


def pairs(
    paths: Sequence[Path],
    form: Format = "pairs",
    *,
    per_user: int = PER_USER,
    arms: Sequence[str] = (),
) -> Made:
    """Make preference data of logs.

    `pairs`: of the same prompt an answer with a thumb up over one with a thumb down; an answer
    asked for again over the one it replaces, unless people then turned from it as well. `kto`:
    every thumb. `completions`: answers grouped by prompt, for `prefer MODEL`.

    Args:
        per_user: at most so many rows that rest on one user.
        arms: only rows of these arms; what an experiment tests should not train on its own arm.

    Raises:
        UserError: a log cannot be read, or `form` is unknown.
    """
    if form not in FORMATS:
        raise UserError(f"--format {form}", expected=f"one of {', '.join(FORMATS)}")
    todo = spans(paths)
    counts: dict[str, int] = {}
    where: dict[str, str] = {}
    seen = list(_index(todo, form, set(arms), counts, where))
    unreadable, odd = counts.get("rows unreadable", 0), counts.get(_TEXTLESS, 0)
    read = counts.pop(_ROWS, 0)
    check_readable(read, unreadable, where.get("bad", ""), paths)
    if odd and odd + counts.get(_AGAIN, 0) == read:
        raise not_a_log(read, where["textless"], ("prompt", "response", FEEDBACK, "replaces"))
    if form == "completions":
        chosen = _grouped(seen, counts)
    elif form == "kto":
        chosen = _limited([(one,) for one in _thumbs(seen, counts)], per_user, counts)
    else:
        found = [*_by_thumbs(seen, counts), *_by_replacing(seen, counts)]
        chosen = _limited(found, per_user, counts)
    texts = _texts(todo, {(one.span, one.line) for group in chosen for one in group})
    rows = [_row(form, [(one, texts[one.span, one.line]) for one in group]) for group in chosen]
    counts["rows made"] = len(rows)
    return Made(rows, counts)


def _index(
    todo: Sequence[Span],
    form: Format,
    arms: set[str],
    counts: dict[str, int],
    where: dict[str, str],
) -> Iterator[_Seen]:
    """Rows that somebody said something about; for `completions` every answer. Each id once.

    Where the first row stands that cannot be read, or has no text, goes into `where`.
    """
    ids: set[bytes] = set()
    replaced = _replaced(todo) if form == "pairs" else set()
    before = number = 0
    for at, span in enumerate(followed(todo, "reading")):
        before = before + number + 1 if span.start else 1
        for number, (line, ended) in enumerate(lines_of(span)):
            if not line.strip():
                continue
            row = parsed(line)
            if isinstance(row, str):
                if is_torn(row, ended):
                    _count(counts, "last line still being written")
                    continue
                _count(counts, "rows unreadable")
                where.setdefault("bad", f"{span.path}, line {before + number}: {row}")
                continue
            _count(counts, _ROWS)
            own = str(row["id"]) if row.get("id") is not None else ""
            key = blake2b(own.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            if own and key in ids:
                _count(counts, _AGAIN)
                continue
            ids.add(key)
            arm = str(row.get("arm") or "")
            if arms and arm not in arms:
                _count(counts, "rows of other arms")
                continue
            response, prompt = answer_of(row), row.get("prompt")
            if response is None or not response.strip() or not prompt:
                _count(counts, _TEXTLESS)
                where.setdefault("textless", f"{span.path}, line {before + number}: {keys_of(row)}")
                continue
            try:
                up = thumb(row.get(FEEDBACK))
            except ValueError:
                _count(counts, f"{FEEDBACK} that is neither up nor down")
                up = None
            user, again = user_of(row), str(row.get("replaces") or "")
            if form != "completions" and up is None and not again and own not in replaced:
                _count(counts, "rows that nobody said anything about")
                continue
            yield _Seen(
                at,
                number,
                own,
                _same(prompt),
                _same(response),
                f"\0{at}:{number}" if user is None else user,
                up,
                again,
            )


def _replaced(todo: Sequence[Span]) -> set[str]:
    """Ids of answers that were asked for again."""
    found = followed(todo, "answers asked for again")
    lines = (line for span in found for line, _ in lines_of(span))
    rows = (parsed(line) for line in lines if b'"replaces"' in line)
    return {str(row["replaces"]) for row in rows if isinstance(row, dict) and row.get("replaces")}


def _same(text: Any) -> bytes:
    """What two prompts share that differ in spaces and width alone."""
    words = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, sort_keys=True)
    words = " ".join(unicodedata.normalize("NFKC", words).split())
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _thumbs(seen: Sequence[_Seen], counts: dict[str, int]) -> list[_Seen]:
    """Rows with a thumb, less those of an answer that got both."""
    said: dict[tuple[bytes, bytes], set[bool]] = {}
    thumbs = [one for one in seen if one.up is not None]
    for one in thumbs:
        assert one.up is not None
        said.setdefault((one.prompt, one.response), set()).add(one.up)
    clear = [one for one in thumbs if len(said[one.prompt, one.response]) == 1]
    _count(counts, "thumbs on an answer that got both", len(thumbs) - len(clear))
    return clear


def _by_thumbs(seen: Sequence[_Seen], counts: dict[str, int]) -> Iterator[tuple[_Seen, _Seen]]:
    """Up over down of the same prompt, each answer in one pair."""
    by_prompt: dict[bytes, tuple[dict[bytes, _Seen], dict[bytes, _Seen]]] = {}
    for one in _thumbs(seen, counts):
        ups, downs = by_prompt.setdefault(one.prompt, ({}, {}))
        (ups if one.up else downs).setdefault(one.response, one)
    for ups, downs in by_prompt.values():
        yield from zip(ups.values(), downs.values(), strict=False)


def _by_replacing(seen: Sequence[_Seen], counts: dict[str, int]) -> Iterator[tuple[_Seen, _Seen]]:
    """An answer over the one it replaces, unless it was itself replaced or got a thumb down."""
    by_id = {one.id: one for one in seen if one.id}
    replaced = {one.replaces for one in seen if one.replaces}
    for one in seen:
        if not one.replaces:
            continue
        old = by_id.get(one.replaces)
        if old is None:
            _count(counts, "answers that replace one not in the log")
        elif one.id in replaced or one.up is False:
            _count(counts, "replacements that people turned from as well")
        elif old.up or old.prompt != one.prompt or old.response == one.response:
            _count(counts, "replacements of a liked, another or the same answer")
        else:
            yield one, old


def _grouped(seen: Sequence[_Seen], counts: dict[str, int]) -> list[tuple[_Seen, ...]]:
    """Different answers to one prompt, two at least."""
    by_prompt: dict[bytes, dict[bytes, _Seen]] = {}
    for one in seen:
        by_prompt.setdefault(one.prompt, {}).setdefault(one.response, one)
    several = [tuple(group.values()) for group in by_prompt.values() if len(group) > 1]
    _count(counts, "prompts with a single answer", len(by_prompt) - len(several))
    return several


def _limited(
    found: Sequence[tuple[_Seen, ...]], per_user: int, counts: dict[str, int]
) -> list[tuple[_Seen, ...]]:
    """At most `per_user` of each user: one angry person is no preference of all."""
    used: dict[str, int] = {}
    kept = []
    for group in found:
        users = {one.user for one in group}
        if any(used.get(user, 0) >= per_user for user in users):
            _count(counts, "left out: more than enough of one user")
            continue
        for user in users:
            used[user] = used.get(user, 0) + 1
        kept.append(group)
    return kept


def _texts(todo: Sequence[Span], wanted: set[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    found: dict[tuple[int, int], Any] = {}
    for at, span in enumerate(followed(todo, "texts")):
        lines = {line for where, line in wanted if where == at}
        if not lines:
            continue
        for number, (line, _) in enumerate(lines_of(span)):
            if number in lines:
                found[at, number] = parsed(line)
    return found


def _row(form: Format, group: Sequence[tuple[_Seen, dict[str, Any]]]) -> dict[str, Any]:
    prompt = group[0][1]["prompt"]
    about = [
        {key: row[key] for key in ("id", "arm", "model", "time") if row.get(key) is not None}
        for _, row in group
    ]
    texts = [str(answer_of(row)) for _, row in group]
    if form == "completions":
        return {"prompt": prompt, "completions": texts, "metadata": {"rows": about}}
    if form == "kto":
        one = group[0][0]
        return {
            "prompt": prompt,
            "completion": texts[0],
            "label": one.up,
            "metadata": {"source": "thumb", **about[0]},
        }
    source = "regenerated" if group[0][0].replaces == group[1][0].id != "" else "thumbs"
    return {
        "prompt": prompt,
        "chosen": texts[0],
        "rejected": texts[1],
        "metadata": {"source": source, "chosen": about[0], "rejected": about[1]},
    }


def _count(counts: dict[str, int], words: str, by: int = 1) -> None:
    if by:
        counts[words] = counts.get(words, 0) + by
