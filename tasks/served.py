"""What answers for a model now, opened with the keys of training: the fitted model as it was trained, and its features.

Reads the plan and the artifact store; writes nothing. Used by the bias audit, which scores what serves and not what was
trained last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import pandas as pd

from checks.facts import role_of
from configs.schema import Config, ModelConfig, Settings
from errors import NotFound, TamperError
from models.contract import Model, find
from records import RULES, ReleasePlan
from tasks.features import artifacts_of
from tasks.profiling import behind_rules

UNREADABLE = (
    TamperError,
    NotFound,
    msgspec.MsgspecError,
    KeyError,
    TypeError,
    ValueError,
)  # a store that is away is none


@dataclass(frozen=True)
class Served:
    """What answers for a model now. Without `fitted` it is the rules; `features` are those of the artifact behind them."""

    name: str
    module: Model
    recipe: ModelConfig
    version: int
    artifact: str
    fitted: Any = None
    params: Any = None
    trained_until: datetime | None = None
    features: pd.DataFrame | None = None
    broken: str = ""  # why the artifact cannot be read by this code


def served_by(settings: Settings, config: Config, plan: ReleasePlan) -> Served:
    """What a plan lets answer. An artifact that this code cannot read is said in `broken`."""
    ruled = role_of(plan) == "rules"
    module, recipe, content = find(plan.model), config.models[plan.model], behind_rules(plan)
    number = RULES if ruled else plan.champion.number
    made = Served(plan.model, module, recipe, number, "" if ruled else content)
    if not content:
        return made
    try:
        store = artifacts_of(settings)
        bundle = store.bundle(content)
        frame = store.frame(bundle.manifest.features)
        if ruled:
            return replace(made, features=frame)
        params = msgspec.convert(bundle.manifest.params, module.Params)
        fitted, cut = module.load(bundle.model), bundle.manifest.trained_until
    except UNREADABLE as error:
        return replace(made, broken=f"the artifact {content[:12]} cannot be read: {error}")
    return replace(made, fitted=fitted, params=params, trained_until=cut, features=frame)
