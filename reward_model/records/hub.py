"""A hub of models and data sets: `push` uploads a folder, `push_rows` a file with a card, `fetch`
brings a model here. The token comes from the environment (`HF_TOKEN`) or `hf auth login`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from reward_model.records.errors import UserError, first_line
from reward_model.records.files import Pathish
from reward_model.records.folders import is_there
from reward_model.records.terminal import console

Kind = Literal["model", "dataset"]
MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "README.md"]
"""What a folder of a trained model is made of; nothing that could be code."""
_WORDS: dict[Kind, str] = {"model": "model", "dataset": "data set"}
_NAME = r"[A-Za-z0-9][\w.-]*"
_LOST = "no hub to reach"
_PATIENCE = 15.0
"""Seconds to wait for a hub's word on whether a model is there."""
_BUSY = (429, 500, 502, 503, 504)
"""Answers that say nothing of the model: its files are asked for, with patience."""
_SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


def size_category(rows: int) -> str:
    """The word of hubs for so many rows.

    >>> size_category(1000)
    '1K<n<10K'
    """
    return next((name for top, name in _SIZES if rows < top), "n>1M")


def check_push(name: str, kind: Kind = "dataset") -> None:
    """See whether a push could work, before the work whose result it is to upload.

    Raises:
        UserError: no such name, no token, or the hub is switched off.
    """
    from huggingface_hub import constants, get_token

    if not re.fullmatch(rf"{_NAME}(/{_NAME})?", name):
        wanted = "owner/data" if kind == "dataset" else "owner/model"
        raise UserError(f"--push-to-hub {name!r}", expected=f"a name such as {wanted}")
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set", expected="a hub to push to", mend=_later(kind))
    if get_token() is None:
        raise UserError(
            "no token of the hub",
            expected="one in HF_TOKEN or from `hf auth login`",
            mend=_later(kind),
        )


def push(
    folder: Path, name: str, kind: Kind, patterns: Sequence[str], *, made: Path | None = None
) -> str:
    """Upload files of a folder to a private place of the hub, made where there is none.

    Args:
        name: ``owner/name``, or a name of one's own.
        patterns: of the files that are uploaded.
        made: what an error names, where the folder is only a copy.

    Returns:
        Its full name.

    Raises:
        UserError: what `check_push` finds, no hub to reach, or a place there that is public.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    check_push(name, kind)
    disable_progress_bars()
    kept = f"the {_WORDS[kind]} is whole on this disk; {_later(kind)}"
    told = made or folder
    with _explained(f"a hub that did not take {name}", "the right to write there", kept, told):
        api = HfApi()
        full = api.create_repo(name, repo_type=kind, private=True, exist_ok=True).repo_id
        # One that was there before stays as public as it was.
        if not api.repo_info(full, repo_type=kind).private:
            raise UserError(
                f"a public {_WORDS[kind]} {full}",
                expected="a private one, or none yet",
                mend=f"name another --push-to-hub; {kept}",
                path=told,
            )
        api.upload_folder(
            repo_id=full, repo_type=kind, folder_path=folder, allow_patterns=list(patterns)
        )
    console().print(f"pushed to {full}, private", markup=False)
    return full


def push_rows(path: Path, name: str, *, title: str, tags: Sequence[str], body: str) -> str:
    """Upload a file of JSON Lines as a data set with a card; see `push`.

    Args:
        title: of the card.
        body: what the card says of how it was made, Markdown.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copyfile(path, folder / "train.jsonl")
        with path.open("rb") as file:
            count = sum(1 for line in file if line.strip())
        head = ["---", "configs:", "- config_name: default", "  data_files:"]
        head += ["  - split: train", "    path: train.jsonl", "size_categories:"]
        head += [f"- {size_category(count)}", "tags:", *(f"- {tag}" for tag in tags), "---", ""]
        words = [f"# {title}", "", f"{count} rows. {body}", ""]
        words += ["No licence is stated: it is that of the prompts and of the models that wrote."]
        (folder / "README.md").write_text("\n".join([*head, *words]) + "\n", "utf-8")
        return push(folder, name, "dataset", ["README.md", "train.jsonl"], made=path)


def is_hub_id(name: str) -> bool:
    """Whether a name that is no folder may be one on a hub, and no path that is misspelt.

    >>> is_hub_id("jhu-clsp/mmBERT-base"), is_hub_id("./lost/base"), is_hub_id("a/b/c")
    (True, False, False)
    """
    return bool(re.fullmatch(rf"{_NAME}/{_NAME}", name)) and not Path(name).parent.is_dir()


def check_there(name: str) -> None:
    """See that a model of a hub is there before its files are asked for: the hub's client would
    ask five times for each of them, and tell every try.

    Raises:
        UserError: no such model, or no hub to reach; nothing is said of what is on this disk.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    if not is_hub_id(name) or is_there(name):
        return
    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    with _explained(
        f"no folder {name} here, and no such model from the hub",
        "the folder of a model, or the id of one on a hub",
        "check the spelling, the network, and HF_TOKEN if it is private",
        lost=f"no folder {name} here, and no hub to reach",
    ):
        try:
            HfApi().model_info(name, timeout=_PATIENCE)
        except HfHubHTTPError as error:
            if getattr(error.response, "status_code", 404) not in _BUSY:
                raise


@contextmanager
def hushed() -> Iterator[None]:
    """The hub's client says nothing of its own: what is wrong is said once, in our words."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def model_folder(name: Pathish, revision: str | None = None) -> Path:
    """The folder of a model, wherever one is named: a folder that is here, else one of a hub.

    Args:
        name: a folder, which always wins; or ``owner/name`` or ``owner/name@revision`` on a hub.
        revision: branch, tag or commit; instead of one in the name.

    Returns:
        The folder. A path that cannot be a name of a hub is given back as it is, for who reads it
        to say that it is not there.

    Raises:
        UserError: a revision of a folder; what `fetch` finds.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise UserError(f"{name!r} as a model", expected="a folder, or owner/name on a hub")
    path, (place, at, tag) = Path(name), os.fspath(name).partition("@")
    said = bool(tag or revision)  # who names a revision means a hub
    named = re.fullmatch(rf"{_NAME}/{_NAME}", place) if said else not at and is_hub_id(place)
    if named and not is_there(path):
        return fetch(place, revision or tag or None)
    if revision is not None:
        raise UserError(
            f"revision {revision!r} of a folder",
            expected="owner/name on a hub, which has revisions",
            path=path,
        )
    return path


def is_fetched(folder: Path) -> bool:
    """Whether a folder is the copy of a model of a hub, which is not ours to write into."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).resolve() in folder.resolve().parents


def fetch(name: str, revision: str | None = None) -> Path:
    """The folder of a model of the hub, fetched unless it is here already; no code is fetched.

    Args:
        name: ``owner/name``.
        revision: branch, tag or commit; the main branch if not given.

    Raises:
        UserError: no such model, or no such revision of it; no hub to reach.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    at = f" at {revision}" if revision else ""
    with _explained(
        f"no such folder {name}, and no such model{at} from the hub",
        "the folder of a trained model, for example outputs/multidim/best",
        "check the spelling, the revision, and HF_TOKEN if it is private",
        lost=f"no such folder {name}, and no hub to reach",
    ):
        disable_progress_bars()
        return Path(snapshot_download(name, revision=revision, allow_patterns=MODEL_FILES))


@contextmanager
def _explained(
    found: str,
    expected: str,
    mend: str,
    path: str | os.PathLike[str] | None = None,
    lost: str = _LOST,
) -> Iterator[None]:
    """Everything that a hub, the way to it and its client raise, in one sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with hushed():
            yield
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{found} ({first_line(error)})", expected=expected, mend=mend, path=path
        ) from None
    except ImportError as error:
        raise UserError(
            f"a proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY that cannot be used "
            f"({first_line(error)})",
            expected="an http proxy, or socks5 with the package socksio installed",
            mend="set NO_PROXY for a hub of your own",
        ) from None
    except Exception as error:  # what the hub's HTTP client raises is no OSError
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise UserError(
            f"{lost} ({first_line(error)})",
            expected=expected if lost != _LOST else "a network that leads to it",
            mend=mend,
            path=path,
        ) from None


def _later(kind: Kind) -> str:
    return "upload it later: hf upload NAME PATH" + " --repo-type dataset" * (kind == "dataset")


__all__ = [
    "MODEL_FILES",
    "check_push",
    "check_there",
    "fetch",
    "hushed",
    "is_hub_id",
    "push",
    "push_rows",
    "size_category",
]
