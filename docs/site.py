"""What the site has beside docs/: the pages at the root of the project, README first, examples of
docstrings as code, and the language of a page in Chinese.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import relpath
from typing import Any

from griffe import Extension, Object
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "README.zh.md": "README.zh.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "data/README.md": "data/README.md",
}
"""Path in the project -> path in docs/, as the site is concerned."""


def on_files(files: Files, config: Any) -> Files:
    """Add them, with their links turned towards the site."""
    for source, place in PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        folder = PurePosixPath(source).parent

        def turn(link: re.Match[str], folder: PurePosixPath = folder, place: str = place) -> str:
            target = str(folder / link[1])
            target = PAGES.get(target, target.removeprefix("docs/"))
            # Of a folder there is no page: its first file stands for it.
            if (ROOT / "docs" / target).is_dir():
                target = f"{target}/{sorted(p.name for p in (ROOT / 'docs' / target).iterdir())[0]}"
            return f"]({relpath(target, PurePosixPath(place).parent)})"

        turned = re.sub(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)", turn, text)
        files.append(File.generated(config, place, content=turned))
    return files


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """A flag in a line of text is never broken after its hyphens."""

    def whole(code: re.Match[str]) -> str:
        return re.sub(r"(?<!\S)--?[a-z][\w-]*", r'<span class="flag">\g<0></span>', code[0])

    return re.sub(r"(?<=<code>)[^<]+(?=</code>)", whole, html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Say of a page in Chinese that it is: readers aloud and fonts go by that."""
    if not page.file.src_uri.endswith(".zh.md"):
        return output
    return output.replace('<html lang="en"', '<html lang="zh"', 1)


class Examples(Extension):
    """Runnable examples of docstrings have no heading; Markdown would make quotes of them."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Fence what begins with `>>>`, up to the next empty line."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"(?:^>>> .*\n?(?:^.+\n?)*)",
                lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n",
                obj.docstring.value,
                flags=re.M,
            )
