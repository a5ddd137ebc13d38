"""What people wrote about a model, quoted: sections of docs/models/NAME.md, and any Markdown of ours as HTML.

Reads the documentation beside the source tree, which an installed package does not have: then that is said instead.
Nothing quoted can become markup: HTML is escaped, pictures and links into the documentation are left as their text.
"""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt

from tasks.provenance import ROOT

DOCS = ROOT / "docs" / "models"
PURPOSE = "Purpose"  # what stands above the first heading
QUALITY, FAILURES, FAIRNESS = "How good it is", "Known failure modes", "Who it is fair to"
QUOTED = (QUALITY, FAILURES, FAIRNESS)
SECTION = re.compile(r"^## +(.+?) *$", re.MULTILINE)
TITLE = re.compile(r"\A# .*$", re.MULTILINE)
LINK = re.compile(r"!?\[([^\]\[]*)\]\((?!https://)[^)\s]*\)")
TAG = re.compile(r"<(?=[A-Za-z/!?])")
MARK = re.compile(r"<td>(pass|fail|inconclusive)</td>")
WHEN = re.compile(r"<td>(\d{4}-\d\d-\d\d[ \d:]*)</td>")
SIBLING = re.compile(r"[A-Za-z0-9_\-]+\.(html|md)")


def quoted(model: str, docs: Path = DOCS) -> tuple[dict[str, str], str]:
    """The quoted sections of a model's page by heading, and what has to be said about those that are not there.

    Args:
        model: a name of models/.
        docs: the folder of the pages.
    """
    if not docs.is_dir():
        return {}, "This installation carries no documentation; the source tree has it in docs/models."
    page = docs / f"{model}.md"
    if not page.is_file():
        return {}, f"Nobody wrote a page about {model}: docs/models/{page.name} is not there."
    written = sections(page.read_text(encoding="utf-8"))
    found = {heading: harmless(written[heading]) for heading in (PURPOSE, *QUOTED) if written.get(heading)}
    missing = [heading for heading in QUOTED if heading not in found]
    return found, f"docs/models/{page.name} has nothing under: {', '.join(missing)}." if missing else ""


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level, and what stands above the first one as PURPOSE."""
    above, *parts = SECTION.split(page)
    under = {heading: text.strip() for heading, text in zip(parts[::2], parts[1::2], strict=True)}
    return {PURPOSE: TITLE.sub("", above).strip(), **under}


def harmless(markdown: str) -> str:
    """Without links that lead nowhere from here, without pictures, and with `<` written out."""
    return TAG.sub("&lt;", LINK.sub(r"\1", markdown))


def html(markdown: str) -> str:
    """Markdown (tables included) as HTML without scripts, pictures or outside addresses but links to https.

    Marks of gates become coloured, and wide tables scroll by themselves.
    """
    made = str(_Parser("commonmark", {"html": False}).enable("table").disable("image").render(markdown))
    made = made.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    made = WHEN.sub(r'<td class="when">\1</td>', made)
    return MARK.sub(r'<td><span class="mark \1">\1</span></td>', made)


class _Parser(MarkdownIt):
    """Narrows what may be a link: out to https, within a page, or to a page beside it."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return url.startswith(("https://", "#")) or bool(SIBLING.fullmatch(url))
