"""The notebooks run from a clean kernel, define nothing and carry no output."""

from __future__ import annotations

import ast
import importlib
import inspect
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import crmml

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> NotebookNode:
    import nbformat  # takes seconds, and every worker collects this file

    return nbformat.read(FOLDER / name, as_version=nbformat.NO_CONVERT)


def code_cells(name: str) -> list[NotebookNode]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def test_both_notebooks_are_there() -> None:
    assert {"01-quickstart.ipynb", "02-lifetime-value.ipynb"} <= set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_without_output(name: str) -> None:
    for cell in code_cells(name):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_valid_with_unique_cell_ids(name: str) -> None:
    import nbformat

    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_defines_nothing(name: str) -> None:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in code_cells(name):
        found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, definitions)]
        assert found == [], cell.source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_everything_that_is_imported_is_there(name: str) -> None:
    """The short form of the run of a long notebook: whatever was renamed is missed here."""
    for cell in code_cells(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                for one in node.names:
                    importlib.import_module(one.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                for one in node.names:
                    if not hasattr(module, one.name):
                        importlib.import_module(f"{node.module}.{one.name}")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_called_takes_the_arguments_that_are_named(name: str) -> None:
    """The other half of the short form: functions and classes of crmml by their signatures."""
    known: dict[str, object] = {}
    called = 0
    for cell in code_cells(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("crmml"):
                module = importlib.import_module(str(node.module))
                known |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
            elif isinstance(node, ast.Call):
                path = ast.unparse(node.func).split(".")
                start = crmml if path[0] == "crmml" else known.get(path[0])
                if start is None or not all(part.isidentifier() for part in path):
                    continue
                found = reduce(getattr, path[1:], start)
                names = [one.arg for one in node.keywords if one.arg is not None]
                given = [one for one in node.args if not isinstance(one, ast.Starred)]
                inspect.signature(found).bind_partial(*given, **dict.fromkeys(names))  # type: ignore[arg-type]
                called += 1
    assert called >= 5


LONG = ("02-lifetime-value.ipynb", "03-churn-and-loyalty.ipynb", "05-management.ipynb")
"""Up to half a minute each; `make torture` runs them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.torture] if name in LONG else []) for name in NOTEBOOKS],
)
def test_runs_from_a_clean_kernel(name: str, tmp_path, monkeypatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/unused.db")
    here = tmp_path / "here"
    here.mkdir()
    notebook = read(name)
    NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(here)}},
    ).execute()

    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    warned = [out.text for out in outputs if out.get("name") == "stderr"]
    assert warned == []
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 4
    assert list(here.iterdir()) == []  # nothing is left behind
