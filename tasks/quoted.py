"""What people wrote about a model, quoted: sections of docs/models/NAME.md, and any Markdown of ours as HTML.

Reads the documentation beside the source tree, which an installed package does not have: then that is said instead.
Nothing quoted can become markup: HTML is escaped, pictures and links into the documentation are left as their text. What
stands in code stays as it is written; a block of code that nobody closed ends with its quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tasks.provenance import ROOT

DOCS = ROOT / "docs" / "models"
PURPOSE = "Purpose"  # what stands above the first heading
QUALITY, FAILURES, FAIRNESS = "How good it is", "Known failure modes", "Who it is fair to"
QUOTED = (QUALITY, FAILURES, FAIRNESS)
LINE = re.compile(r"\r\n|\r|\n")
LINK = re.compile(r"\[([^\]\[]*)\]\((?!https://)[^)\s]*\)")
PICTURE = re.compile(r"!\[([^\]\[]*)\]\([^)]*\)")
BANG = re.compile(r"!+(?=\[)")  # of a picture that is written in another way
SPAN = re.compile(r"(?<![\\`])(`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)\1(?!`)", re.DOTALL)  # of code, within a paragraph
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
    try:
        written = sections(page.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError as error:
        return {}, f"docs/models/{page.name} could not be read: {error.strerror}."
    found = {heading: harmless(written[heading]) for heading in (PURPOSE, *QUOTED) if written.get(heading)}
    missing = [heading for heading in QUOTED if heading not in found]
    return found, f"docs/models/{page.name} has nothing under: {', '.join(missing)}." if missing else ""


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level, and what stands above the first one, below the title, as PURPOSE.

    What stands under the same heading twice is one text.
    """
    lines, found = LINE.split(page), {PURPOSE: ""}
    heads = [(PURPOSE, 0, 0), *_headings(page), ("", len(lines), len(lines))]
    for (heading, _, start), (_, end, _) in pairwise(heads):
        text = closed("\n".join(lines[start:end]).strip("\n").rstrip())
        found[heading] = "\n\n".join(part for part in (found.get(heading, ""), text) if part)
    return found


def closed(markdown: str) -> str:
    """The text with an end for a block of code that has none, which would go on in whatever follows."""
    last = _parsed(f"{markdown}\n\nend")[-1]
    return f"{markdown}\n{last.markup}" if last.type == "fence" else markdown


def harmless(markdown: str) -> str:
    """Without links that lead nowhere from here, without pictures, and with `<` written out, but in code."""
    kept = "".join(text if code else _tamed(text) for code, text in _pieces(markdown)).removesuffix("\n")
    return _tamed(markdown) if _alive(kept) else kept


def html(markdown: str) -> str:
    """Markdown (tables included) as HTML without scripts, pictures or outside addresses but links to https.

    Marks of gates become coloured, and wide tables scroll by themselves.
    """
    made = str(_Parser("commonmark", {"html": False}).enable("table").disable("image").render(markdown))
    made = made.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    made = WHEN.sub(r'<td class="when">\1</td>', made)
    return MARK.sub(r'<td><span class="mark \1">\1</span></td>', made)


def _parsed(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": False}).parse(markdown)


def _headings(page: str) -> Iterator[tuple[str, int, int]]:
    """Text, first line and the line after, of the title and of every heading of the second level."""
    tokens = _parsed(page)
    for at, token in enumerate(tokens):
        titles = token.tag == "h1" and at == 0
        if token.type == "heading_open" and token.level == 0 and token.map and (token.tag == "h2" or titles):
            yield PURPOSE if titles else tokens[at + 1].content, token.map[0], token.map[1]


def _pieces(markdown: str) -> Iterator[tuple[bool, str]]:
    """The text in parts, each with whether it is code."""
    lines, done = [f"{line}\n" for line in LINE.split(markdown)], 0
    blocks = [token.map for token in _parsed(markdown) if token.type in {"fence", "code_block"} and token.map]
    for start, end in [*blocks, [len(lines), len(lines)]]:
        yield from _spans("".join(lines[done:start]))
        yield True, "".join(lines[start:end])
        done = end


def _spans(text: str) -> Iterator[tuple[bool, str]]:
    at = 0
    for span in SPAN.finditer(text):
        yield False, text[at : span.start()]
        yield True, span.group()
        at = span.end()
    yield False, text[at:]


def _tamed(text: str) -> str:
    return TAG.sub("&lt;", BANG.sub("", LINK.sub(r"\1", PICTURE.sub(r"\1", text))))


def _alive(markdown: str) -> bool:
    """True when a viewer that allows HTML would find some, or a picture: what looked like code was none."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return any(
        one.type in {"html_block", "html_inline", "image"}
        for token in tokens
        for one in (token, *(token.children or ()))
    )


class _Parser(MarkdownIt):
    """Narrows what may be a link: out to https, within a page, or to a page beside it."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return url.startswith(("https://", "#")) or bool(SIBLING.fullmatch(url))
