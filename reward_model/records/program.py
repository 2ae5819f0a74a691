"""The frame of a command line: plain help, `--version`, completion of the shell.

`program(help)` is the typer application of `reward-model`, `datagen` and `judge` alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

import reward_model
from reward_model.records.errors import UserError
from reward_model.records.page.phrases import PageLanguage

PageLanguageOption = Annotated[
    PageLanguage, typer.Option("--page-language", help="Language of the page that is written.")
]


def check_page(language: PageLanguage, html: Path | None) -> None:
    """Refuse a language of a page that is not written.

    Raises:
        UserError: it is not the default, and there is no page.
    """
    if language != "en" and html is None:
        raise UserError(
            f"--page-language {language} without --html", expected="the page it is the language of"
        )


PushOption = Annotated[
    str | None,
    typer.Option("--push-to-hub", metavar="NAME", help="Upload what was made, private."),
]


def _tell_version(context: typer.Context, asked: bool) -> None:
    if asked:
        typer.echo(f"{context.info_name} {reward_model.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """What stands before any command."""


class Commands(typer.core.TyperGroup):
    """Commands whose sentences stand whole in the help, folded over lines instead of cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command and what it does."""
        known = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=1000)) for name, one in known if one]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def program(help: str) -> typer.Typer:
    """An application without commands yet.

    Args:
        help: what its commands are for, in a sentence.
    """
    app = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: loading rich would take longer than all the rest
        help=help,
    )
    app.callback(help=help)(_options)
    return app
