"""The `datagen` command line: analysis frameworks, and pairs of a good and a worse report.

Every command is thin: it reads its flags and hands over to the module that does the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reward_model.llm.flags import (
    BaseUrl,
    Batch,
    Body,
    Effort,
    Header,
    Prices,
    Thinking,
    Wait,
)
from reward_model.records.program import PushOption, program
from reward_model.records.terminal import given, run

app = program("Golden financial reports and controlled degradations of them, written by a model.")


MaxTokensOption = Annotated[int, typer.Option(help="Longest reply, in tokens.")]
RetriesOption = Annotated[int, typer.Option(help="Times a reply that fails its checks is redone.")]
LedgerOption = Annotated[
    str | None, typer.Option(help="File of all calls. [default: OUT.calls.jsonl]")
]
ConcurrencyOption = Annotated[int, typer.Option(help="Most calls out at once to each model.")]
RequestsOption = Annotated[float | None, typer.Option(help="Hard limit for each model.")]
TokensOption = Annotated[float | None, typer.Option(help="Hard limit for each model.")]
TimeoutOption = Annotated[float, typer.Option(help="Longest wait for one reply.")]
BudgetOption = Annotated[
    float | None, typer.Option(help="Stop before the calls cost more than this.")
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="TOML file with any of these options; flags win.")
]


@app.command()
def pairs(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Where the pairs go, JSON Lines.")],
    fields: Annotated[
        str,
        typer.Option(
            help="Fields, with commas: manufacturing, services, finance, real_estate, technology, "
            "or their Chinese names."
        ),
    ] = "制造业,服务业,金融业,房地产,科技业",
    n_pairs_per_field: Annotated[int, typer.Option(help="Pairs of each field.")] = 10,
    pairs: Annotated[
        int | None, typer.Option(help="Pairs over all fields, instead of a number for each.")
    ] = None,
    language: Annotated[str, typer.Option(help="zh, en or both.")] = "zh",
    seed: Annotated[int, typer.Option(help="Decides the design; sent to the models.")] = 0,
    llm: Annotated[
        list[str] | None,
        typer.Option(
            help="offline, openai:MODEL or dashscope:MODEL; several share the work. "
            "[default: offline]"
        ),
    ] = None,
    base_url: BaseUrl = None,
    header: Header = None,
    body: Body = None,
    thinking: Thinking = None,
    reasoning_effort: Effort = None,
    rubric: Annotated[
        str, typer.Option(help="Rubric that ships, by name, or a TOML file.")
    ] = "financial_report",
    statements: Annotated[
        str | None, typer.Option(help="Own companies: statements as .csv, .md or .jsonl.")
    ] = None,
    frameworks: Annotated[
        str | None, typer.Option(help="Folder of own frameworks, LANGUAGE/FIELD.md.")
    ] = None,
    real: Annotated[
        bool, typer.Option(help="Use the companies that ship; without, all are invented.")
    ] = True,
    synthetic: Annotated[int, typer.Option(help="Invented companies beside the real ones.")] = 0,
    pairs_per_company: Annotated[
        int, typer.Option(help="Most pairs of one company before companies are invented.")
    ] = 4,
    degradations: Annotated[
        str | None, typer.Option(help="Draw from these only, with commas. [default: all]")
    ] = None,
    severities: Annotated[
        str | None, typer.Option(help="Draw from these only, with commas. [default: all]")
    ] = None,
    neutral_share: Annotated[
        float, typer.Option(help="Share of neutral rewrites, the controls.")
    ] = 0.15,
    planted_share: Annotated[
        float, typer.Option(help="Share of wrong calculations that code plants.")
    ] = 0.5,
    edit_gold: Annotated[
        bool, typer.Option(help="Send the gold through a neutral edit too.")
    ] = True,
    temperature_gold: Annotated[float, typer.Option(help="Of the good side.")] = 0.7,
    temperature_degraded: Annotated[
        float | None, typer.Option(help="Of the worse side. [default: that of the good side]")
    ] = None,
    max_tokens: MaxTokensOption = 8192,
    retries: RetriesOption = 2,
    ledger: LedgerOption = None,
    max_concurrency: ConcurrencyOption = 256,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    timeout_s: TimeoutOption = 600,
    batch: Batch = False,
    wait: Wait = False,
    budget_usd: BudgetOption = None,
    prices: Prices = None,
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the design and an estimate; call nothing.")
    ] = False,
    push_to_hub: PushOption = None,
) -> None:
    """Make pairs: a golden report, and an edit of it that is worse in known dimensions."""
    from datagen.pairs import make_pairs
    from datagen.settings import Settings, resolve
    from reward_model.records.hub import check_push, push_rows

    settings = resolve(given(context, Settings.model_fields), config)
    if push_to_hub is not None:
        check_push(push_to_hub)  # a wrong name is said before the calls
    make_pairs(settings, out, dry_run=dry_run)
    if push_to_hub is not None and not dry_run:
        push_rows(
            out,
            push_to_hub,
            title="Pairs of a good and a worse report",
            tags=["rlhf", "preference", "synthetic-data"],
            body="`rejected` is `chosen` made worse in a dimension, kind and severity that "
            "`metadata` names; every record names its writer.",
        )


@app.command()
def revise(
    context: typer.Context,
    drafts: Annotated[
        Path,
        typer.Argument(
            help="Prompt with response, completion or completions; JSON Lines, CSV, TSV or Parquet."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the pairs go, JSON Lines.")],
    llm: Annotated[
        list[str] | None,
        typer.Option(help="openai:MODEL or dashscope:MODEL; several share the work."),
    ] = None,
    base_url: BaseUrl = None,
    header: Header = None,
    body: Body = None,
    thinking: Thinking = None,
    reasoning_effort: Effort = None,
    constitution: Annotated[
        str, typer.Option(help="Rubric whose dimensions are the principles: a name or TOML file.")
    ] = "constitution",
    principles: Annotated[
        str | None, typer.Option(help="Draw from these only, with commas. [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the principles; sent to the models.")] = 0,
    temperature: Annotated[float, typer.Option(help="Of critique and revision.")] = 0.7,
    max_tokens: MaxTokensOption = 8192,
    retries: RetriesOption = 2,
    ledger: LedgerOption = None,
    max_concurrency: ConcurrencyOption = 256,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    timeout_s: TimeoutOption = 600,
    batch: Batch = False,
    wait: Wait = False,
    budget_usd: BudgetOption = None,
    prices: Prices = None,
    config: ConfigOption = None,
) -> None:
    """Make pairs by a constitution: criticise each draft by a principle, and revise it."""
    from datagen.revise import make_revisions
    from datagen.settings import RevisionSettings, resolve_revision

    settings = resolve_revision(given(context, RevisionSettings.model_fields), config)
    make_revisions(drafts, settings, out)


@app.command()
def frameworks(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder the frameworks go to, LANGUAGE/FIELD.md.")],
    fields: Annotated[
        str, typer.Option(help="Fields, with commas.")
    ] = "制造业,服务业,金融业,房地产,科技业",
    language: Annotated[str, typer.Option(help="zh, en or both.")] = "zh",
    llm: Annotated[
        str, typer.Option(help="offline copies those that ship; or openai:MODEL, dashscope:MODEL.")
    ] = "offline",
    base_url: BaseUrl = None,
    header: Header = None,
    body: Body = None,
    thinking: Thinking = None,
    reasoning_effort: Effort = None,
    temperature_gold: Annotated[float, typer.Option("--temperature", help="Of the writer.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Sent to the model.")] = 0,
) -> None:
    """Have a model write the analysis framework of each field; those that exist are kept."""
    from datagen.frameworks import make_frameworks
    from datagen.settings import Settings, resolve

    make_frameworks(resolve(given(context, Settings.model_fields), None), out)


def main() -> None:
    """Run the command line."""
    run(app)
