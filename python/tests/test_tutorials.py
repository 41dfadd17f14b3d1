"""The tutorials' notebooks run from their first cell to their last, with what they claim asserted in them."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

import thinkey

TUTORIALS = Path(__file__).parent.parent.parent / "docs" / "tutorials"
NEEDS = {"long-document": [], "compare-specs": ["pandas"], "transformers": ["torch", "transformers"]}


def test_every_tutorial_is_here() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.ipynb")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_tutorial(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("nbclient", "ipykernel", *NEEDS[name]):
        if not find_spec(package):
            pytest.skip(f"{package} is not installed")
    import nbformat
    from nbclient import NotebookClient

    for variable in ("TUTORIAL_MODEL", "TUTORIAL_TEXT", "TUTORIAL_CHECKPOINT"):
        monkeypatch.delenv(variable, raising=False)
    package = str(Path(thinkey.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    where = {"metadata": {"path": str(TUTORIALS)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    if name == "compare-specs":
        pages = [
            output["data"]["text/html"]
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            if "text/html" in output.get("data", {})
        ]
        assert any("&lt;svg" in page for page in pages), "an evaluation shows its figures"
