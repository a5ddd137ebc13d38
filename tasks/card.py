"""The model card: what a version is, for people who were not there. Markdown, kept with the version in MLflow.

Pure. Rendered by training; says only what configuration, data and code say themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from configs.schema import Config
from models.contract import Feature
from records import Candidate, Manifest


def model_card(config: Config, candidate: Candidate, manifest: Manifest, features: Sequence[Feature]) -> str:
    """The card of one version."""
    return "\n".join(_lines(config, candidate, manifest, features)) + "\n"


def _lines(config: Config, candidate: Candidate, manifest: Manifest, features: Sequence[Feature]) -> Iterator[str]:
    recipe = config.models[candidate.model]
    yield f"# {manifest.name}"
    yield ""
    yield f"{recipe.description}. Owners: {', '.join(recipe.owners)}."
    yield ""
    yield f"- trained because: {candidate.reason}"
    if candidate.verdict:
        yield f"- asked for by the guard's verdict {candidate.verdict}"
    if candidate.segment:
        yield f"- trained for everybody; must also be better for the segment {candidate.segment}"
    yield f"- trained on rows before {candidate.trained_until:%Y-%m-%d %H:%M} UTC; judged on the {recipe.split.holdout_days} days after"
    yield f"- serves with features as of {candidate.features.as_of:%Y-%m-%d %H:%M} UTC, {candidate.features.rows} rows"
    versions = candidate.versions
    yield f"- {versions.data.name}, {versions.feature.name}, {versions.pipeline.name}, commit {candidate.commit}"
    yield f"- configuration {candidate.config_digest[:12]}, artifact {candidate.artifact.content[:12]} (encrypted, {candidate.artifact.size_bytes} bytes)"
    yield f"- offline metric {recipe.metric}, online KPI {recipe.kpi}, judged {manifest.judge}"
    yield f"- limits of its rollout: control {recipe.rollout.control_percent:g} %, drop beyond {recipe.rollout.margin_fail:.0%}"
    yield ""
    yield "## Data"
    yield ""
    for name in sorted(set(recipe.tables.values())):
        dataset = config.datasets[name]
        yield f"- {dataset.description} ({dataset.licence}); owner {dataset.owner}"
        subjects = [column for column, declared in dataset.columns.items() if declared.subject]
        yield f"  - subjects in {', '.join(subjects) or 'no column'}; kept as keyed pseudonyms only"
    yield ""
    yield "## Features"
    yield ""
    yield "| name | type | range | meaning |"
    yield "|---|---|---|---|"
    for feature in features:
        yield f"| {feature.name} | {feature.dtype} | {_range(feature)} | {feature.meaning} |"
    yield ""
    yield "## Parameters and policy"
    yield ""
    for group, values in (("parameter", manifest.params), ("policy", manifest.policy)):
        for key, value in sorted(values.items()):
            yield f"- {group} {key}: {value}"


def _range(feature: Feature) -> str:
    if feature.low is None and feature.high is None:
        return "-"
    low, high = ("" if end is None else f"{end:g}" for end in (feature.low, feature.high))
    return f"{low} .. {high} {feature.unit}".strip()
