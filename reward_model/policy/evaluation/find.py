"""The policies that a command is given: runs, model folders, or folders of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reward_model.policy.base import ADAPTER, RUN, Place, find_policy
from reward_model.records import UserError, read_object


def find_policies(named: Sequence[str], methods: Sequence[str] = ()) -> list[Place]:
    """Each policy, in the order given; a folder is searched for runs, then for models.

    Args:
        named: places.
        methods: only runs of these, where any is given.

    Raises:
        UserError: nothing to measure in one of them.
    """
    found: list[Place] = []
    for name in named:
        path = Path(name)
        whole = any((path / n).exists() for n in (RUN, "config.json", "adapter_config.json"))
        if not path.is_dir() or whole:
            found.append(find_policy(name))
            continue
        runs = sorted(p.parent for p in path.rglob(RUN))
        models = runs or sorted(
            {p.parent for kind in ("config.json", "adapter_config.json") for p in path.rglob(kind)
             if not p.parent.name.startswith("checkpoint-")}
        )  # fmt: skip
        over = [p for p in models if not (p / RUN).exists() or _is_over(p)]
        if not over:
            raise UserError(
                f"{len(models)} unfinished runs" if models else "a folder without policies",
                expected="finished runs, or model folders",
                path=path,
            )
        found += [find_policy(str(p)) for p in over]
    if methods:
        known = {str(p.run): (read_object(p.run / RUN) or {}) for p in found if p.run}
        found = [
            p for p in found
            if {known.get(str(p.run), {}).get("objective"),
                known.get(str(p.run), {}).get("settings", {}).get("method")} & {*methods}
        ]  # fmt: skip
        if not found:
            raise UserError(f"no run of {', '.join(methods)}", expected="another --methods")
    return found


def _is_over(run: Path) -> bool:
    return (run / "best" / "config.json").exists() or (run / ADAPTER).is_dir()
