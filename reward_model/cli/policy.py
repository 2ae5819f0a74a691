"""`reward-model policy`: train, sample, evaluate and chat with policies.

Each command only reads its flags here and hands over, so `--help` stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reward_model.cli.options import CenteredOption, DeviceOption, JsonOption
from reward_model.policy import require_trl
from reward_model.records import UserError
from reward_model.records.program import Commands, PageLanguageOption, check_page

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train policies with the reward, and measure what became of them.",
)

NOption = Annotated[int, typer.Option("--n", min=1, help="Answers a prompt.")]
NewTokensOption = Annotated[
    int, typer.Option("--max-new-tokens", min=1, help="Most tokens of an answer.")
]
TemperatureOption = Annotated[
    float,
    typer.Option("--temperature", min=0.0, help="0: the likeliest; 1: as the policy itself draws."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every draw.")]


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(
            help="Preferences, answers or prompts: JSON Lines, Parquet, CSV, a folder of these, "
            "or the id of a data set of the hub."
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(help="sft, dpo, orpo, simpo, kto, grpo, rloo or online-dpo. [default: dpo]"),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Folder, run or hub id of the policy to start from.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Of dpo: TRL's names, sipa or pref_po; several: sigmoid_norm,sft=0.05."),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Strength of the tie to the reference.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Weight of the second term of sipa and pref_po.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Margin that simpo asks for.")] = None,
    preference: Annotated[
        str | None,
        typer.Option(help="p of pref_po: an instruction, its file, or a tensor of tokens."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Folder of another reference than the base.")
    ] = None,
    virtual_tokens: Annotated[
        str | None,
        typer.Option(help="Embedding mode: only N virtual tokens learn, or those of a FILE."),
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(help="LoRA of this rank on every linear layer; 0: train it all.")
    ] = None,
    load_in_4bit: Annotated[
        bool, typer.Option("--load-in-4bit", help="QLoRA: the frozen weights in 4 bits.")
    ] = False,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="Learning rate. [default: the method's own]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows of a step, over all devices.")
    ] = None,
    device_batch: Annotated[
        int | None, typer.Option(help="Most rows a device takes at once; memory, not result.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of prompt and answer; prompts give way.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Of answers given while training or watched.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(help="Draw so many rows, by seed.")] = None,
    max_eval_rows: Annotated[int | None, typer.Option(help="Most rows of an evaluation.")] = None,
    eval_share: Annotated[float | None, typer.Option(help="Share of groups to look at.")] = None,
    test_share: Annotated[float | None, typer.Option(help="Share kept for evaluate.")] = None,
    eval_steps: Annotated[
        int | None,
        typer.Option(help="Steps between evaluations and checkpoints. [default: an epoch]"),
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="For rows without a prompt.")] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            help="Of online training: MODEL, MODEL#DIMENSION, MODEL#* or file.py:function, each "
            "with =WEIGHT; repeatable."
        ),
    ] = None,
    risk: Annotated[float | None, typer.Option(help="Lambda of mean - lambda x sd.")] = None,
    centered: CenteredOption = False,
    watch: Annotated[
        str | None,
        typer.Option(help="Keep the checkpoint whose samples this reward model likes best."),
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="With --watch: keep by this one instead.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="With --watch: stop after so many evaluations without gain.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: any field of TRL's configuration; repeatable."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any setting.")] = None,
    project: Annotated[str | None, typer.Option(help="Folder of runs.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of split, order and draws.")] = None,
    resume: Annotated[bool, typer.Option(help="Only go on with a run; never begin one.")] = False,
) -> None:
    """Train a policy on DATA with TRL; the same command goes on with a killed run."""
    flags: dict[str, Any] = {
        "method": method,
        "base_model": base_model,
        "loss": loss,
        "beta": beta,
        "alpha": alpha,
        "gamma": gamma,
        "preference": preference,
        "reference": reference,
        "virtual_tokens": virtual_tokens,
        "lora_rank": lora_rank,
        "load_in_4bit": load_in_4bit or None,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "device_batch": device_batch,
        "max_length": max_length,
        "max_new_tokens": max_new_tokens,
        "max_rows": max_rows,
        "max_eval_rows": max_eval_rows,
        "eval_share": eval_share,
        "test_share": test_share,
        "eval_steps": eval_steps,
        "instruction": instruction,
        "rewards": reward or None,
        "risk": risk,
        "centered": centered or None,
        "watch": watch,
        "gold": gold,
        "patience": patience,
        "trl": _fields(set_ or []) or None,
        "project": project,
        "name": name,
        "output_dir": output_dir,
        "seed": seed,
    }
    from reward_model.policy.settings import resolve

    settings = resolve(data, config, flags)
    require_trl()
    from reward_model.policy.training.train import train as start
    from reward_model.train.processes import leave

    start(settings, resume=resume)
    leave()


@app.command()
def sample(
    policy: Annotated[
        str,
        typer.Argument(
            help="A run, a model folder, an adapter or a hub id; openai:MODEL reaches a server."
        ),
    ],
    prompts: Annotated[str, typer.Argument(help="Rows with prompt, in any format train reads.")],
    out: Annotated[Path, typer.Option(help="File of samples.")],
    n: NOption = 4,
    max_new_tokens: NewTokensOption = 256,
    temperature: TemperatureOption = 1.0,
    top_p: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Nucleus that is drawn from.")
    ] = 1,
    max_length: Annotated[int, typer.Option(min=32, help="Tokens of prompt and answer.")] = 1024,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Draw so many prompts.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Dollars, where a provider is asked.")
    ] = None,
) -> None:
    """Answer PROMPTS with POLICY: rows that prefer, score and audit read."""
    from reward_model.policy.generate import Manner
    from reward_model.policy.sample import sample as start
    from reward_model.records.terminal import console

    manner = Manner(n, max_new_tokens, temperature, top_p, seed)
    count = start(
        policy,
        prompts,
        out,
        manner,
        max_length=max_length,
        max_rows=max_rows,
        device=device,
        budget_usd=budget,
    )
    console().print(f"{out}: {count:,} prompts, {n} answers each", markup=False)


@app.command()
def evaluate(
    runs: Annotated[
        list[str], typer.Argument(help="Runs, model folders, adapters, or folders of these.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Held-out pairs. [default: the groups that each run kept for a test]"),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="What the policies are asked. [default: those of the pairs]")
    ] = None,
    reward: Annotated[str | None, typer.Option(help="Folder or address of the reward.")] = None,
    gold: Annotated[
        str | None, typer.Option(help="A second reward that nothing was trained on.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Compare with this. [default: what each run began from]")
    ] = None,
    judged: Annotated[
        Path | None, typer.Option(help="duel.jsonl after judge score --mode pairwise.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Only runs of these methods or losses, by commas.")
    ] = None,
    max_samples: Annotated[int, typer.Option(min=1, help="Most prompts that are asked.")] = 100,
    samples: Annotated[int, typer.Option(min=1, help="Answers a prompt.")] = 3,
    skip: Annotated[
        list[str] | None, typer.Option(help="pairs, perplexity, samples or kl; repeatable.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Once more by each value of this: metadata.bias_type; repeatable."),
    ] = None,
    max_kl: Annotated[
        float | None, typer.Option(min=0, help="Nats beyond which a policy has drifted.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Of --data, draw so many.")] = None,
    max_length: Annotated[int, typer.Option(min=32, help="Tokens of prompt and answer.")] = 1024,
    max_new_tokens: NewTokensOption = 256,
    instruction: Annotated[str | None, typer.Option(help="For rows without a prompt.")] = None,
    json: JsonOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    page_language: PageLanguageOption = "en",
    seed: SeedOption = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap draws by group.")] = 1000,
    device: DeviceOption = None,
) -> None:
    """Measure policies on held-out pairs and prompts; exits 1 if something is wrong with one."""
    from reward_model.policy.evaluation.evaluate import PolicyEvaluation
    from reward_model.policy.evaluation.evaluate import evaluate as start
    from reward_model.records import check_outputs, write_result, write_text

    check_page(page_language, html)
    read = (*runs, data, prompts, judged, reward, gold, reference)
    check_outputs({"--json": json, "--html": html}, read)
    options = PolicyEvaluation(
        data=data,
        prompts=prompts,
        reward=reward,
        gold=gold,
        reference=reference,
        judged=judged,
        methods=tuple(part.strip() for part in (methods or "").split(",") if part.strip()),
        skip=tuple(skip or ()),
        by=tuple(by or ()),
        max_samples=max_samples,
        samples=samples,
        max_rows=max_rows,
        max_new_tokens=max_new_tokens,
        max_length=max_length,
        max_kl=max_kl,
        instruction=instruction,
        seed=seed,
        resamples=resamples,
        device=device,
    )
    result, measured = start(runs, options)
    write_result(result, json)
    if html is not None:
        from reward_model.policy.evaluation.page import page

        write_text(html, page(result, page_language))
    _tell(result)
    raise typer.Exit(1 if any(one.problems for one in measured) else 0)


@app.command()
def loop(
    settings: Annotated[
        Path, typer.Argument(metavar="LOOP.toml", help="What docs/policies.md says.")
    ],
    json: JsonOption = None,
    device: DeviceOption = None,
) -> None:
    """Sample, prefer, mix, train and evaluate in rounds; exits 1 where the gate stops it."""
    from reward_model.records import check_outputs, write_result
    from reward_model.records.terminal import console

    require_trl()
    from reward_model.policy.loop import loop as start
    from reward_model.policy.loop import read_loop

    told = read_loop(settings)
    read = (told.base, told.reward, told.gold, told.prompts, told.original)
    check_outputs({"--json": json}, (settings, *read))
    state = start(told, device)
    for told in state["rounds"]:
        found = told["measured"]
        names = ("win_rate", "reward_change", "gold_change", "kl", "length_ratio")
        numbers = ", ".join(f"{n} {found[n]:.3f}" for n in names if isinstance(found.get(n), float))
        console().print(f"round {told['round']}: {numbers}", markup=False)
    write_result(state, json)
    if state["stopped"]:
        words = f"stopped by the gate: {state['stopped']}; the last good round is"
        console().print(f"{words} {state['last_good']}", style="red", markup=False)
    raise typer.Exit(1 if state["stopped"] else 0)


@app.command()
def chat(
    policy: Annotated[str, typer.Argument(help="A run, a model folder, an adapter or a hub id.")],
    reward: Annotated[
        str | None, typer.Option(help="Show what this reward model thinks of each answer.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Answer this and leave.")] = None,
    max_new_tokens: NewTokensOption = 256,
    temperature: TemperatureOption = 1.0,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Talk to POLICY, with the levels of each answer beside it."""
    from reward_model.policy.chat import chat as start
    from reward_model.policy.generate import Manner

    manner = Manner(1, max_new_tokens, temperature, seed=seed)
    start(policy, reward=reward, prompt=prompt, manner=manner, device=device)


def _fields(given: list[str]) -> dict[str, str | list[str]]:
    """NAME=VALUE of `--set`; a value with spaces is a list, as on TRL's command line."""
    found: dict[str, str | list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--set {text}", expected="NAME=VALUE, a field of TRL's configuration")
        found[name.strip()] = value
    return found


def _tell(result: dict[str, Any]) -> None:
    """The verdict on each run, a table of all, their problems, what else to know."""
    from rich.table import Column

    from reward_model.policy.evaluation.verdict import verdicts
    from reward_model.policy.evaluation.words import COLUMNS, figure, said
    from reward_model.records.terminal import TONES, console, table

    runs, screen = result["runs"], console()
    for name, one in verdicts(result).items():
        words = one.to(f"{name} is better than its reference")
        screen.print(words, style=f"bold {TONES[one.ready]}", markup=False)
        if one.next:
            screen.print(f"next: {one.next}", style="cyan", markup=False, soft_wrap=True)
    shown = [c for c in COLUMNS if any(run.get(c[0]) is not None for run in runs.values())]
    names, side = list(runs), max(1, (screen.width - 16) // 26)
    for some in (names[at : at + side] for at in range(0, len(names), side)):  # that have room
        told = table(None, "", *(Column(name, justify="right", overflow="fold") for name in some))
        for key, title in shown:
            told.add_row(title, *(figure(runs[name], key) for name in some))
        screen.print(told)
    for style, words in said(runs):
        screen.print(words, style=style, markup=False, soft_wrap=True)
