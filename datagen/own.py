"""Companies of one's own: statements as CSV, Markdown or JSON Lines, or whole prompts.

CSV: a row is a company in a period; columns `company`, `field`, `period`, optional `industry` and
`unit`, then one column a line, named by its key or any of its names in `items.toml`.
Markdown: `# Company | field`, then tables. JSONL: `company`, `field`, and `tables` or `prompt`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.acceptance import spoken
from datagen.companies import Company, Figures
from datagen.fields import field_name
from datagen.settings import Settings
from reward_model.checks import find_item, items
from reward_model.records import UserError, digest, read_jsonl, read_text

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
    reader = {".csv": _csv, ".md": _markdown, ".markdown": _markdown, ".jsonl": _jsonl}
    if path.suffix.lower() not in reader and not path.is_dir():
        raise UserError(
            f"a file ending in {path.suffix or 'nothing'!r}",
            expected="statements in .csv, .md or .jsonl",
            path=path,
        )
    found = reader.get(path.suffix.lower(), _csv)(path, default_field)
    if not found:
        raise UserError("no company", expected="at least one", path=path)
    return found


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
    rows = csv.DictReader(io.StringIO(read_text(path)))
    header = [name.strip() for name in rows.fieldnames or []]
    missing = [name for name in ("company", "period") if name not in header]
    if missing:
        raise UserError(
            f"no column {', '.join(missing)}" if header else "an empty file",
            expected="columns company, field, period and one a statement line",
            path=path,
            line=1,
        )
    columns: dict[str, str] = {}
    for name in header:
        if name in _KNOWN:
            continue
        item = items().get(name) or find_item(name)
        if item is None:
            raise UserError(
                f"unknown column {name!r}",
                expected="a line of the statements, by a name in reward_model/checks/items.toml",
                path=path,
                line=1,
            )
        columns[name] = item.key
    about: dict[str, tuple[str, str]] = {}
    figures: dict[str, tuple[Figures, ...]] = {}
    for number, raw in enumerate(rows, 2):
        row = {(k or "").strip(): (v or "").strip() for k, v in raw.items() if isinstance(v, str)}
        name, period = row.get("company", ""), row.get("period", "")
        if not name or not period:
            raise UserError("no company or no period", path=path, line=number)
        unit = row.get("unit") or "元"
        if unit not in UNITS:
            raise UserError(
                f"unit {unit!r}", expected=f"one of {', '.join(UNITS)}", path=path, line=number
            )
        about[name] = (_field(row.get("field", ""), default, path, number), row.get("industry", ""))
        known = figures.setdefault(name, ({}, {}, {}))
        for column, key in columns.items():
            values = known[_statement_of(key)].setdefault(key, {})
            cell = row.get(column, "").replace(",", "")
            if cell in {"", "-", "—", "--"}:
                continue
            try:
                value = float(cell)
            except ValueError:
                raise UserError(
                    f"{cell!r} in column {column}", expected="a number", path=path, line=number
                ) from None
            per_share = items()[key].unit == "per_share"
            values[period.removesuffix("年")] = value * (1.0 if per_share else UNITS[unit])
    return [
        _company(name, field, industry, statements=figures[name])
        for name, (field, industry) in about.items()
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
