"""Reads what people decided: the YAML files of `configs/` and the GROWNET_* environment variables.

The only reader of either. All problems of all files are reported at once, each with file and key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from configs.schema import Compliance, Config, Dataset, DecisionTable, Defaults, ModelConfig, Settings
from errors import ConfigError, NotFound, UsageError
from records import digest_of

if TYPE_CHECKING:
    from yaml import SafeLoader
else:  # every task reads the configuration, and libyaml reads it eight times faster than Python can
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

SchemaT = TypeVar("SchemaT", bound=BaseModel)
HERE = Path(__file__).resolve().parent
PREFIX = "GROWNET_"
RESERVED = {"defaults", "decisions", "compliance"}  # every other YAML beside them is a model


def load(folder: Path = HERE) -> Config:
    """Reads defaults.yaml, decisions.yaml, compliance.yaml, datasets/*.yaml and one *.yaml per model below `folder`.

    Raises:
        ConfigError: with every problem of every file.
    """
    problems: list[str] = []
    defaults = _checked(Defaults, _yaml(folder / "defaults.yaml", problems), "defaults.yaml", problems)
    table = _checked(DecisionTable, _yaml(folder / "decisions.yaml", problems), "decisions.yaml", problems)
    review = _checked(Compliance, _yaml(folder / "compliance.yaml", problems), "compliance.yaml", problems)
    base = defaults.model if defaults else {}
    models = _folder(ModelConfig, folder, problems, base)
    datasets = _folder(Dataset, folder / "datasets", problems, {})
    for model in models.values():
        problems += [
            f"{model.name}.yaml: tables.{alias}: expected one of {sorted(datasets)}, got {dataset!r}"
            for alias, dataset in model.tables.items()
            if dataset not in datasets
        ]
    if defaults and review:
        problems += _unknown_roles(review, defaults)
    if problems or defaults is None or table is None or review is None:
        raise ConfigError(problems)
    return Config(defaults=defaults, models=models, datasets=datasets, decisions=table, compliance=review)


def settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the GROWNET_* variables (`environ` stands in for the process environment in tests).

    Raises:
        ConfigError: for an unknown GROWNET_ variable or a value of the wrong type.
    """
    env = os.environ if environ is None else environ
    given = {key.removeprefix(PREFIX).lower(): value for key, value in env.items() if key.startswith(PREFIX)}
    home = Path(given.get("home", ".grownet")).resolve()
    values: dict[str, Any] = {
        "configs": HERE,
        "ledger_url": f"sqlite:///{home}/ledger.db",
        "lake_uri": str(home / "lake"),
        "artifacts_uri": str(home / "artifacts"),
        "mlflow_url": "http://127.0.0.1:5000",
        "prefect_url": "http://127.0.0.1:4200/api",
        **given,
        "home": home,
        "releases": Path(given.get("releases", home / "releases")).resolve(),
    }
    values.setdefault("prefect_ui_url", str(values["prefect_url"]).removesuffix("/api"))
    problems: list[str] = []
    checked = _checked(Settings, values, "environment", problems, prefix=PREFIX)
    if checked is None:
        raise ConfigError(problems)
    return checked


def source_url(variable: str, environ: Mapping[str, str] | None = None) -> str:
    """The SQLAlchemy URL that a dataset's `source.url_variable` names; it may hold a password and is never shown.

    Raises:
        ConfigError: when the variable is not set.
    """
    url = (os.environ if environ is None else environ).get(variable, "")
    if not url:
        raise ConfigError([f"environment: {variable}: expected the URL of the source, got nothing"])
    return url


def overlay(folder: Path, target: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Copies the YAML files of a configuration to `target`, with `changes` merged in by file name.

    For a configuration that differs in a few values from another one: the demo's, a test's.
    """
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder)
        problems: list[str] = []
        data = _merged(_yaml(path, problems), dict(changes.get(str(name), {})))
        if problems:
            raise ConfigError(problems)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        new = (target / name).with_suffix(".new")
        new.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
        new.replace(target / name)


def recipe_of(config: Config, model: str) -> ModelConfig:
    """What was decided about a model.

    Raises:
        NotFound: for a model without configuration.
        UsageError: for one that is switched off.
    """
    if model not in config.models:
        raise NotFound(f"model {model!r}", expected=f"one of {sorted(config.models)}", do=f"add configs/{model}.yaml")
    if not config.models[model].enabled:
        do = f"set enabled: true in configs/{model}.yaml; guard and service read it when they start"
        raise UsageError(f"model {model!r}", expected="enabled: true", got="switched off", do=do)
    return config.models[model]


def config_digest(config: Config, model: str) -> str:
    """SHA-256 of all that was decided about one model: its own file, its datasets and the house's defaults."""
    chosen = config.models[model]
    return digest_of(
        {
            "model": chosen.model_dump(mode="json"),
            "datasets": {name: config.datasets[name].model_dump(mode="json") for name in chosen.tables.values()},
            "approval": config.defaults.approval.model_dump(mode="json"),
        }
    )


def _unknown_roles(review: Compliance, defaults: Defaults) -> list[str]:
    """Roles that nobody can be enrolled in."""
    known = sorted({role for roles in defaults.approval.roles.values() for role in roles})
    return [
        f"compliance.yaml: items.{item.id}.role: expected one of {known}, got {item.role!r}"
        for item in review.items
        if item.role not in known
    ]


def _folder(schema: type[SchemaT], folder: Path, problems: list[str], base: dict[str, Any]) -> dict[str, SchemaT]:
    found: dict[str, SchemaT] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem in RESERVED:
            continue
        label = path.name if schema is ModelConfig else f"{folder.name}/{path.name}"
        data = _yaml(path, problems)
        if data.get("name", path.stem) != path.stem:
            problems.append(f"{label}: name: expected {path.stem!r} (the file's name), got {data['name']!r}")
        checked = _checked(schema, _merged(base, {**data, "name": path.stem}), label, problems)
        if checked is not None:
            found[path.stem] = checked
    return found


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


class _UniqueKeys(SafeLoader):
    """YAML keeps the last of two equal keys without a word; here a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} is given twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError:
        problems.append(f"{path.name}: expected a file at {path}, got none")
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: not readable as YAML: {error}")
        return {}
    if not isinstance(data, dict):
        problems.append(f"{path.name}: expected keys and values, got {type(data).__name__}")
        return {}
    return data


def _checked(
    schema: type[SchemaT], data: dict[str, Any], label: str, problems: list[str], prefix: str = ""
) -> SchemaT | None:
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
            key = prefix + key.upper() if prefix else key
            got = "" if item["type"] in {"missing"} else f", got {item['input']!r:.80}"
            problems.append(f"{label}: {key}: {item['msg'].removeprefix('Value error, ')}{got}")
        return None
