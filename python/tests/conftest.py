"""Models that the tests run: the bundled one, and the tiny checkpoints of the C++ tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import thinkey

ROOT = Path(__file__).parent.parent.parent
CHECKPOINTS = ROOT / "tests" / "fixtures" / "model"


@pytest.fixture(scope="session")
def model() -> thinkey.Model:
    """The bundled model: 4000 tokens of context, answers questions about its prompt."""
    return thinkey.Model.load(ROOT / "models" / "thinkey-needle.gguf")


@pytest.fixture(scope="session")
def document(model: thinkey.Model) -> list[int]:
    """Some 1200 tokens."""
    return model.tokenize((ROOT / "docs" / "results.md").read_text(encoding="utf-8"))[:1200]
