"""Every example runs, and prints what it is about."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODEL = str(ROOT / "models" / "thinkey-needle.gguf")
TEXT = str(ROOT / "docs" / "methods.md")
PROMPT = "The passkey for distant island is 76848. " * 20

EXAMPLES = {
    "quick_start": ([MODEL], "% of a full cache"),
    "stream": ([MODEL, PROMPT], ""),
    "compare_specs": ([MODEL, TEXT], "snapkv:25%+think:0.4+kivi:4"),
    "saved_document": ([MODEL, str(ROOT / "LICENSE"), "CACHE", "What is it?", "Whose is it?"], ""),
    "fork": ([MODEL, PROMPT], "'"),
    "batch": ([MODEL, PROMPT, "The letter"], "length"),
    "token_by_token": ([MODEL, PROMPT], "%"),
    "spec_objects": ([MODEL], "snapkv:25%,kernel=7,pool=max+think:0.6"),
    "compress_tensors": ([], "kept channels [39 39]"),
    "transformers_cache": ([str(ROOT / "tests" / "fixtures" / "model" / "llama32")], "bytes"),
}


def test_every_example_is_here() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, tmp_path: Path) -> None:
    if name == "transformers_cache" and not (find_spec("torch") and find_spec("transformers")):
        pytest.skip("torch and transformers are not installed")
    if name == "compare_specs" and not find_spec("pandas"):
        pytest.skip("pandas is not installed")
    arguments, wanted = EXAMPLES[name]
    command = [a if a != "CACHE" else str(tmp_path / "document.kv") for a in arguments]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and wanted in done.stdout
