"""Where the papers of a version, and of an incident, lie below home. Pure, and without a heavy import: votes and traces name them too."""

from __future__ import annotations

from pathlib import PurePosixPath


def cards(model: str) -> PurePosixPath:
    """The folder of a model's cards and feature definitions."""
    return PurePosixPath("cards", model)


def card(model: str, name: str) -> PurePosixPath:
    """The card of a version, such as recommendation-v2."""
    return cards(model) / f"{name}.html"


def postmortem(incident: str) -> PurePosixPath:
    """The postmortem of a closed incident."""
    return PurePosixPath("incidents", f"{incident}.md")


def shadow(model: str, name: str) -> PurePosixPath:
    """The page that compares a version in the shadow with the champion."""
    return PurePosixPath("pages", "shadow", model, f"{name}.html")
