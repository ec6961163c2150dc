"""The house itself: importing is light, and the repository names no machine."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import crmml
import crmml.exceptions
import crmml.models

ROOT = Path(__file__).parent.parent
HEAVY = ("mlflow", "sklearn", "lightgbm", "ibis", "matplotlib")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    ["import crmml", "import crmml.cli", "import crmml.config", "dir(__import__('crmml'))"],
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    assert loaded_after(statement).isdisjoint(HEAVY)


def test_mathematics_loads_neither_pandas_nor_sklearn() -> None:
    loaded = loaded_after("import crmml.stats.bg_nbd, crmml.stats.knapsack, crmml.stats.pareto_nbd")
    assert loaded.isdisjoint({"pandas", "sklearn", "yaml", "pydantic", "mlflow", "ibis"})


def test_models_and_scoring_load_no_mlflow() -> None:
    assert "mlflow" not in loaded_after(
        "import crmml.models.purchase.beta_geo, crmml.scoring.bundle"
    )


@pytest.mark.parametrize("name", [n for n in crmml.__all__ if n != "__version__"])
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(crmml, name) is not None


def test_the_tests_lie_where_the_code_lies() -> None:
    package, kept = ROOT / "src" / "crmml", {"doors", "faults", "format_1", "format_2"}
    rooms = {path.parent.relative_to(ROOT / "tests") for path in ROOT.glob("tests/**/test_*.py")}
    assert [str(room) for room in rooms if not (package / room).is_dir()] == ["faults"]
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    folders.discard("__pycache__")
    assert {name for name in folders if not (package / name).is_dir()} == kept


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        crmml.nothing  # noqa: B018


def test_no_empty_tool_rooms() -> None:
    names = {path.stem for path in (ROOT / "src").rglob("*.py")}
    assert names.isdisjoint({"utils", "helpers", "common", "misc"})


def module_lines() -> list[str]:
    """Return a line of the table of modules in CONTRIBUTING.md for each module."""
    lines = []
    for path in sorted((ROOT / "src" / "crmml").rglob("*.py")):
        parts = path.relative_to(ROOT / "src" / "crmml").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or "crmml"
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append(f"| `{name}` | {' '.join(text.partition(chr(10) * 2)[0].split())} |")
    return lines


def test_contributing_has_one_true_line_per_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [line for line in module_lines() if line not in text] == []


def test_nothing_saved_or_loaded_is_a_pickle() -> None:
    pattern = re.compile(
        r"^\s*(import|from) (pickle|joblib|dill|cloudpickle|shelve|marshal)\b", re.M
    )
    offenders = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_no_estimator_is_more_than_three_levels_deep():
    """An estimator, a kind of model, a model; what they share beyond that is composed."""
    from crmml.models.estimator import Estimator

    for module in pkgutil.walk_packages(crmml.models.__path__, "crmml.models."):
        importlib.import_module(module.name)

    def deeper(kind: type, level: int) -> list[str]:
        here = [kind.__name__] if level > 3 and kind.__module__.startswith("crmml") else []
        return here + [name for sub in kind.__subclasses__() for name in deeper(sub, level + 1)]

    assert deeper(Estimator, 1) == []


def test_no_error_is_more_than_three_levels_deep() -> None:
    kinds = [kind for kind in vars(crmml.exceptions).values() if isinstance(kind, type)]
    own = {kind.__name__: [k for k in kind.__mro__ if k in kinds] for kind in kinds}
    assert [name for name, line in own.items() if len(line) > 3] == []


def test_each_decision_has_its_number_status_and_date() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    for number, record in enumerate(records, start=1):
        title, _, status = record.read_text("utf-8").split("\n")[:3]
        assert record.name.startswith(f"{number:04}-")
        assert title.startswith(f"# {number}. ")
        assert re.fullmatch(r"\*Status: accepted on \d{4}-\d\d-\d\d.*\.\*", status), record


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Count a function's lines with its signature, without blanks, comments and its docstring."""
    whole = range(function.lineno, function.end_lineno + 1)
    spoken: range | tuple[int, ...] = ()
    if ast.get_docstring(function) is not None:
        spoken = range(function.body[0].lineno, function.body[0].end_lineno + 1)
    code = [lines[i - 1].strip() for i in whole if i not in spoken]
    return sum(bool(line) and not line.startswith("#") for line in code)


def test_no_function_is_longer_than_sixty_lines_of_code() -> None:
    package = Path(crmml.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert code_lines(node, text.split("\n")) <= 60, f"{path.name}: {node.name}"
