"""Keeps what people read about versions up to date: model cards, feature definitions, release notes.

Reads the ledger and what versions were trained with; writes `home/cards/MODEL` and MODEL.md in the folder of release
notes, each file only when it changed. Called by training, validation, the release flow, every lifecycle and hourly by the
monitor flow, since the guard moves rollouts without any flow; and by `grownet card` and `grownet release notes`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2

from configs.schema import Config, Settings
from errors import GrownetError, NotFound, UsageError
from records import Candidate
from stores.vault import Vault
from tasks import feature_sheet, origin, places, release_notes, sheet
from tasks.card import card
from tasks.operate import opened
from tasks.origin import Origin
from tasks.sheet import Sheet
from tasks.story import fresh, tell

log = logging.getLogger("grownet.paperwork")
CANNOT = (GrownetError, OSError, ValueError, LookupError, jinja2.TemplateError)  # be read, rendered, encoded or written


@dataclass(frozen=True)
class Papers:
    """What a model's papers say now. `cards` are by the digest of the artifact; `changed` are the files written just now."""

    cards: dict[str, Sheet]
    notes: str  # empty for a model that nobody trained
    changed: tuple[Path, ...]


def begin(settings: Settings, made: Origin, candidate: Candidate) -> str:
    """Keeps what is known of a version at training; its first card, as Markdown."""
    origin.save(settings.home, made)
    return card(made, fresh(candidate)).markdown


def refresh(settings: Settings, config: Config, model: str) -> Papers:
    """Brings all papers of a model up to what the ledger says now; again, it writes nothing.

    Raises:
        TamperError: for a plan or an artifact that was changed.
        OSError: when a file cannot be written.
    """
    papers, sheets = _made(settings, config, model)
    return replace(papers, changed=_written(settings, model, papers, sheets))


def shown(settings: Settings, config: Config, model: str) -> Papers:
    """As `refresh`, for somebody who only wants to read: a file that cannot be written is a warning."""
    papers, sheets = _made(settings, config, model)
    try:
        _written(settings, model, papers, sheets)
    except OSError as error:
        log.warning("cards and release notes of %s are not all up to date: %s", model, error)
    return papers


def card_of(settings: Settings, config: Config, model: str, number: int = 0) -> dict[str, str]:
    """Name, page, digest and Markdown of a version's card, brought up to date; the newest version's for number 0.

    Raises:
        NotFound: for a model or a version that nobody trained.
    """
    cards = {one.name: one for one in shown(settings, config, model).cards.values()}
    wanted = f"{model}-v{number}" if number else next(iter(cards), "")
    if wanted not in cards:
        raise NotFound(
            f"card of {wanted or model}", expected=f"one of {list(cards)}", got=wanted or "none", do="train it first"
        )
    found = cards[wanted]
    page = settings.home / places.card(model, wanted)
    return {"name": wanted, "page": str(page), "digest": found.digest, "markdown": found.markdown}


def notes_of(settings: Settings, config: Config, model: str, target: Path | None = None) -> dict[str, str]:
    """The release notes as Markdown; written as MODEL.md into a folder as well, when one is given.

    Raises:
        NotFound: for a model that nobody trained.
        UsageError: for a folder that cannot be written to.
    """
    papers = shown(settings, config, model)
    if not papers.notes:
        raise NotFound(f"release notes of {model}", expected="a candidate", got="none", do="train it first")
    if target is not None:
        try:
            origin.write(target / f"{model}.md", papers.notes.encode())
        except OSError as error:
            raise UsageError(
                "--write", expected="a folder to write into", got=f"{target} ({error.strerror})"
            ) from error
    return {"model": model, "markdown": papers.notes, "file": str(target / f"{model}.md") if target else ""}


def kept_up(settings: Settings, config: Config, model: str, *, registry: bool = False) -> None:
    """As `refresh`, for a flow whose own work is done by then: what stands in the way is said, and tried again later.

    Args:
        registry: whether MLflow is told as well, which takes its import and may take a wait.
    """
    try:
        papers = refresh(settings, config, model)
        if registry:
            _tell_registry(settings, model, papers)
    except CANNOT as error:
        log.warning("cards and release notes of %s are not all up to date: %s", model, error)


def _made(settings: Settings, config: Config, model: str) -> tuple[Papers, list[Sheet]]:
    """The papers as they should be, and the pages they stand on."""
    with opened(settings, "reader") as ledger:
        story = tell(ledger, model, Vault.open(settings.home, "reader", settings.kms_key_uri).verifier)
    origins = {one.number: made for one in story.chapters if (made := _origin(settings, config, one.candidate))}
    cards = {
        origins[one.number].artifact: card(origins[one.number], one) for one in story.chapters if one.number in origins
    }
    oldest_first = [origins[number] for number in sorted(origins)]
    text = release_notes.notes(story, origins, demo=settings.demo) if story.chapters else ""
    return Papers(cards, text, ()), [*cards.values(), *feature_sheet.sheets(oldest_first)]


def _written(settings: Settings, model: str, papers: Papers, sheets: list[Sheet]) -> tuple[Path, ...]:
    """The files that were other than before."""
    changed = sheet.publish(settings.home / places.cards(model), sheets)
    target = settings.releases / f"{model}.md"
    told = bool(papers.notes) and origin.write(target, papers.notes.encode())
    return (*changed, *([target] if told else []))


def _tell_registry(settings: Settings, model: str, papers: Papers) -> None:
    from stores.registry import Registry

    cards = {content: one.markdown for content, one in papers.cards.items()}
    Registry.open(settings.mlflow_url).describe(model, cards)


def _origin(settings: Settings, config: Config, candidate: Candidate | None) -> Origin | None:
    """What a version was trained with; made again where it was lost, and None where it cannot be."""
    if candidate is None:
        return None
    known = origin.read(settings.home, candidate.model, candidate.versions.model.name, candidate.artifact.content)
    if known is not None:
        return known
    try:
        made = origin.again(settings, config, candidate)
    except GrownetError as error:
        log.warning("no card of %s: %s", candidate.versions.model.name, error)
        return None
    try:
        origin.save(settings.home, made)
    except OSError as error:
        log.warning("the facts of %s are not kept: %s", made.name, error)
    return made
