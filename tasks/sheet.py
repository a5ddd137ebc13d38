"""A Markdown text as a page: the same words for MLflow, for git and, as HTML that works offline, for a browser.

Writes `NAME.md` and `NAME.html` side by side, each only when it changed. Used for model cards and feature definitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from records import Outcome, digest_bytes
from tasks import quoted
from tasks.origin import write

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Sheet:
    """A text with its title. `verdict` stands on top of the page: how it looks, and what it says."""

    name: str  # of the files
    title: str
    lines: tuple[str, ...]  # Markdown below the title
    footer: str
    verdict: tuple[Outcome, str] | None = None

    @property
    def markdown(self) -> str:
        """The whole text; equal facts give equal bytes."""
        said = [f"**{self.verdict[1]}**", ""] if self.verdict else []
        return "\n".join([f"# {self.title}", "", *said, *self.lines]).rstrip() + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the Markdown, 64 hex characters."""
        return digest_bytes(self.markdown.encode())

    @property
    def html(self) -> str:
        """The page as one document without outside addresses."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
        )
        return environment.get_template("sheet.html.j2").render(
            title=self.title,
            verdict=self.verdict,
            body=quoted.html("\n".join(self.lines)),
            footer=self.footer,
            digest=self.digest,
        )


def publish(folder: Path, sheets: Iterable[Sheet]) -> list[Path]:
    """Writes the files of each sheet; the pages that are other than before."""
    changed = []
    for sheet in sheets:
        page = folder / f"{sheet.name}.html"
        texts = {page: sheet.html, page.with_suffix(".md"): sheet.markdown}
        written = [target for target, text in texts.items() if write(target, text.encode())]
        changed += [page] if written else []
    return changed


def table(header: Iterable[str], rows: Iterable[Iterable[str]], right: int = 0) -> list[str]:
    """A Markdown table with a blank line after it; none at all without rows.

    Args:
        right: so many of the last columns hold numbers.
    """
    heads, body = list(header), [list(row) for row in rows]
    if not body:
        return []
    marks = ["---" if at < len(heads) - right else "---:" for at in range(len(heads))]
    return [*(f"| {' | '.join(row)} |" for row in (heads, marks, *body)), ""]
