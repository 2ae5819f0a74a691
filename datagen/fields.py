"""The fields of analysis, the files that ship for them, and where those files are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from reward_model.records import UserError, explain_os_error
from reward_model.records.files import not_utf8

FIELDS: dict[str, str] = {
    "制造业": "manufacturing",
    "服务业": "services",
    "金融业": "finance",
    "房地产": "real_estate",
    "科技业": "technology",
}
"""Name in records -> name of its files and its English name."""

LANGUAGES = ("zh", "en")


def field_name(name: str) -> str:
    """The name of a field as records keep it, from its Chinese or English name.

    >>> field_name("real_estate"), field_name("制造业")
    ('房地产', '制造业')

    Raises:
        UserError: no such field.
    """
    name = name.strip()
    for zh, en in FIELDS.items():
        if name == zh or name.casefold().replace(" ", "_").replace("-", "_") == en:
            return zh
    known = ", ".join(f"{zh} ({en})" for zh, en in FIELDS.items())
    raise UserError(f"unknown field {name!r}", expected=f"one of {known}")


def field_title(field: str, language: str) -> str:
    """The field inside a sentence.

    >>> field_title("房地产", "en")
    'real estate'
    """
    return field if language == "zh" else FIELDS[field].replace("_", " ")


def data_folder() -> Path:
    """The folder of statements and frameworks: inside the installed package, or `data/` of the
    repository it runs from.

    Raises:
        UserError: neither is there.
    """
    installed = Path(str(files("datagen"))) / "data"
    repository = Path(__file__).resolve().parent.parent / "data"
    for folder in (installed, repository):
        if (folder / "statements").is_dir():
            return folder
    raise UserError(
        f"no statements in {installed} or {repository}",
        mend="install the package again, or run it from its repository",
    )


def framework(field: str, language: str, folder: Path | None = None) -> str:
    """The analysis framework of a field.

    Args:
        folder: where own frameworks are, as `LANGUAGE/FIELD.md`; None takes those that ship.

    Raises:
        UserError: there is none.
    """
    base = folder if folder is not None else data_folder() / "frameworks"
    path = base / language / f"{FIELDS[field]}.md"
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        raise UserError(
            f"no framework of {field}",
            expected="one for each field and language",
            mend="have it made (datagen frameworks), or leave the field out (--fields)",
            path=path,
        ) from None
    except OSError as error:
        raise explain_os_error(error, path) from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None
