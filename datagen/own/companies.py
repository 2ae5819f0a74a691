"""Companies of one's own: statements as CSV, Markdown or JSON Lines, or whole prompts.

CSV (commas, semicolons, tabs): a row is a company in a period; columns `company`, `field`,
`period`, optional `industry` and `unit`, then one column a line of the statements, named by its key
or any of its names in `items.toml`.
Markdown: `# Company | field`, then tables. JSONL: `company`, `field`, and `tables` or `prompt`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.acceptance import spoken
from datagen.companies import Company, Figures
from datagen.fields import field_name
from datagen.own.sheet import Numbers
from datagen.own.sheet import rows as read_rows
from datagen.settings import Settings
from reward_model.checks import find_item, items
from reward_model.records import UserError, digest, is_folder, is_there, read_jsonl, read_text

UNITS = {
    "元": 1.0, "千元": 1e3, "万元": 1e4, "百万元": 1e6, "亿元": 1e8,
    "yuan": 1.0, "thousand": 1e3, "million": 1e6, "billion": 1e9,
}  # fmt: skip
_KNOWN = {"company", "field", "period", "industry", "unit"}


def read_companies(path: Path, default_field: str | None = None) -> list[Company]:
    """Read companies from a file by its ending.

    Args:
        default_field: the field of companies that name none.

    Raises:
        UserError: naming the file, the line, what was found and what was expected.
    """
    reader = {
        ".csv": _csv,
        ".tsv": _csv,
        ".md": _markdown,
        ".markdown": _markdown,
        ".jsonl": _jsonl,
    }
    if not is_there(path):
        raise UserError("no such file or folder", expected="statements", path=path)
    if path.suffix.lower() not in reader and not is_folder(path):
        raise UserError(
            f"a file ending in {path.suffix or 'nothing'!r}",
            expected="statements in .csv, .tsv, .md or .jsonl",
            path=path,
        )
    found = reader.get(path.suffix.lower(), _csv)(path, default_field)
    if not found:
        raise UserError("no company", expected="at least one", path=path)
    return _told_apart(found)


def fitted(settings: Settings, companies: Sequence[Company]) -> Settings:
    """Settings with the fields and the languages of the companies, where none were asked for."""
    update: dict[str, object] = {}
    if "fields" not in settings.model_fields_set:
        update["fields"] = tuple(dict.fromkeys(company.field for company in companies))
    spoken_by = {company.language for company in companies}
    if "language" not in settings.model_fields_set and None not in spoken_by:
        update["language"] = "both" if len(spoken_by) > 1 else spoken_by.pop()
    return settings.model_copy(update=update)


def _field(name: str, default: str | None, path: Path, line: int) -> str:
    if not name and default is None:
        raise UserError("no field", expected="the field of the company", path=path, line=line)
    try:
        return field_name(name) if name else str(default)
    except UserError as error:
        raise UserError(error.found, expected=error.expected, path=path, line=line) from None


def _statement_of(item: str) -> int:
    """Which statement a line belongs to, by its place in items.toml."""
    order = list(items())
    if (
        item in order
        and items()[item].kind == "stock"
        and item not in {"opening_cash", "closing_cash"}
    ):
        return 1
    first, last = order.index("cash_from_sales"), order.index("free_cash_flow")
    return 2 if first <= order.index(item) <= last else 0


def _csv(path: Path, default: str | None) -> list[Company]:
    separator, header, rows = read_rows(path, ("company", "field", "period", "unit"))
    missing = [name for name in ("company", "period") if name not in header]
    if missing:
        raise UserError(
            f"no column {', '.join(missing)}" if header else "an empty file",
            expected="columns company, field, period and one a statement line",
            path=path,
            line=1,
        )
    columns = _columns(header, path)
    cells = [(row.line, row.cells[place]) for row in rows for place in columns]
    # Where semicolons separate, commas usually are decimal: there a number has to tell.
    numbers = Numbers(cells, path, certain=separator != ";")
    about: dict[str, tuple[str, str]] = {}
    lines: dict[tuple[str, str], int] = {}
    figures: dict[str, tuple[Figures, ...]] = {}
    for number, row in rows:
        known = dict(zip(header, row, strict=True))
        name, period = known["company"], known["period"].removesuffix("年")
        if not name or not period:
            raise UserError("no company or no period", path=path, line=number)
        unit = known.get("unit") or "元"
        if unit not in UNITS:
            raise UserError(
                f"unit {unit!r}", expected=f"one of {', '.join(UNITS)}", path=path, line=number
            )
        told = _field(known.get("field", ""), default, path, number), known.get("industry", "")
        for what, before, now in zip(
            ("field", "industry"), about.get(name, told), told, strict=True
        ):
            if before != now:
                raise UserError(
                    f"{what} {now!r} of {name}", expected=f"{before!r}, as on its rows before",
                    path=path, line=number,
                )  # fmt: skip
        about[name] = told
        if (name, period) in lines:
            raise UserError(
                f"{name} in {period} once more",
                expected="one row for each company and period",
                mend=f"it stands on line {lines[name, period]} already",
                path=path,
                line=number,
            )
        lines[name, period] = number
        statements = figures.setdefault(name, ({}, {}, {}))
        for place, key in columns.items():
            values = statements[_statement_of(key)].setdefault(key, {})
            value = numbers.read(row[place], header[place], number)
            if value is not None:
                per_share = items()[key].unit == "per_share"
                values[period] = value * (1.0 if per_share else UNITS[unit])
    return [
        _company(name, field, industry, statements=figures[name])
        for name, (field, industry) in about.items()
    ]


def _columns(header: Sequence[str], path: Path) -> dict[int, str]:
    """Place -> the line of the statements that stands there."""
    columns: dict[int, str] = {}
    names: dict[str, str] = {}
    for place, name in enumerate(header):
        item = None if name in _KNOWN else items().get(name) or find_item(name)
        if name not in _KNOWN and item is None:
            raise UserError(
                f"unknown column {name!r}" if name else f"column {place + 1} without a name",
                expected="a line of the statements, by a name in reward_model/checks/items.toml",
                path=path,
                line=1,
            )
        key = item.key if item else name
        if key in names:
            again = name if names[key] == name else f"{names[key]} and {name}, which are one"
            raise UserError(
                f"column {again} twice" if names[key] == name else f"columns {again}",
                expected="each line of the statements once",
                path=path,
                line=1,
            )
        names[key] = name
        if item:
            columns[place] = item.key
    return columns


def _told_apart(companies: Sequence[Company]) -> list[Company]:
    """Companies whose names give one id get ids of their own: groups are never mixed."""
    names: dict[str, set[str]] = {}
    for company in companies:
        names.setdefault(company.id, set()).add(company.name["zh"])
    return [
        dataclasses.replace(c, id=f"{c.id}-{digest(c.name['zh'], 6)}")
        if len(names[c.id]) > 1
        else c
        for c in companies
    ]


def _company(name: str, field: str, industry: str = "", **what: Any) -> Company:
    return Company(
        id=re.sub(r"[^\w.-]+", "-", name).strip("-") or digest(name, 8),
        name={"zh": name, "en": name},
        field=field,
        industry={"zh": industry, "en": industry} if industry else {},
        **what,
    )


def _markdown(path: Path, default: str | None) -> list[Company]:
    found: list[Company] = []
    parts = re.split(r"^# ", read_text(path), flags=re.M)
    line = 1 + parts[0].count("\n")
    for part in parts[1:]:
        title, _, body = part.partition("\n")
        name, _, field = (piece.strip() for piece in title.partition("|"))
        if any(company.name["zh"] == name for company in found):
            raise UserError(
                f"{name} once more", expected="all tables of a company under one heading",
                path=path, line=line,
            )  # fmt: skip
        if "|" not in body:
            raise UserError(f"no table under {name!r}", path=path, line=line)
        tables = body.strip()
        found.append(
            _company(
                name, _field(field, default, path, line), tables=tables, language=spoken(tables)
            )
        )
        line += part.count("\n")
    return found


def _jsonl(path: Path, default: str | None) -> list[Company]:
    found = []
    for line in read_jsonl(path):
        row = line.value
        unknown = set(row) - {"company", "field", "industry", "language", "tables", "prompt"}
        name, tables, prompt = row.get("company"), row.get("tables"), row.get("prompt")
        if unknown or not isinstance(name, str) or not isinstance(tables or prompt, str):
            raise UserError(
                f"unknown key {sorted(unknown)[0]}" if unknown else "no company or no tables",
                expected="keys company, field and tables (Markdown) or prompt",
                path=path,
                line=line.number,
            )
        language = row.get("language") or spoken(str(prompt or tables))
        if language not in {"zh", "en"}:
            raise UserError(
                f"language {language!r}", expected="zh or en", path=path, line=line.number
            )
        field = _field(str(row.get("field") or ""), default, path, line.number)
        found.append(
            _company(
                name, field, str(row.get("industry") or ""), tables=str(tables or ""),
                prompt=str(prompt or ""), language=str(language),
            )
        )  # fmt: skip
    return found
