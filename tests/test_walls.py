"""Walls the import linter cannot see: the single modules at the bottom and the top, and the weight of the light commands."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
OURS = ROOMS | {"errors", "records", "grownet"}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_there_are_rooms() -> None:
    assert {"checks", "configs", "models", "stores", "tasks", "serving", "guard", "flows"} <= ROOMS


def test_records_and_errors_import_nothing_of_ours() -> None:
    for name in ("records.py", "errors.py"):
        assert not imported(ROOT / name) & OURS, name


def test_nothing_imports_the_command_line() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert files
    assert [path for path in files if "grownet" in imported(path)] == []


def only_importers(package: str) -> set[str]:
    files = [path for room in ROOMS - {"benchmarks"} for path in (ROOT / room).rglob("*.py")]
    assert files
    return {str(path.relative_to(ROOT)) for path in files if package in imported(path)}


def test_heavy_packages_have_one_importer() -> None:
    assert only_importers("mlflow") == {"stores/registry.py"}
    assert only_importers("great_expectations") == {"tasks/expect.py"}
    assert only_importers("slack_sdk") == {"stores/notify.py"}
    assert only_importers("evidently") == {"tasks/sample_report.py"}


def test_the_environment_and_yaml_are_read_in_one_place() -> None:
    assert only_importers("yaml") == {"configs/load.py"}


def test_models_do_not_import_each_other() -> None:
    names = {path.stem for path in (ROOT / "models").glob("*.py")} - {"__init__", "contract"}
    assert names
    for name in names:
        tree = ast.parse((ROOT / "models" / f"{name}.py").read_text(encoding="utf-8"))
        modules = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        } | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        others = {f"models.{other}" for other in names - {name}}
        assert not {found for found in modules if any(f"{found}.".startswith(f"{other}.") for other in others)}, name


def test_every_link_of_the_documents_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in link
    ]
    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def loaded(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(out.stdout.split())


def test_the_command_line_and_the_service_do_not_pay_for_the_heavy_packages() -> None:
    heavy = {"prefect", "mlflow", "great_expectations", "evidently", "lightgbm", "deltalake"}
    for statement in ("import grownet", "import serving.server", "import guard.loop"):
        assert not loaded(statement) & heavy, statement


def test_the_flows_that_people_wait_for_load_prefect_and_nothing_else_that_is_heavy() -> None:
    heavy = {"mlflow", "great_expectations", "evidently", "lightgbm", "deltalake", "pandas", "scipy", "pyarrow"}
    assert not loaded("import flows.operate, flows.progress, flows.release") & heavy
