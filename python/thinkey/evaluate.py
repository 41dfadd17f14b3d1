"""What a cache spec does to a model's answers: `thinkey eval` as data frames (docs/evaluation.md).

Needs pandas: pip install 'thinkey[data]'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING

from thinkey import _core
from thinkey.cache_spec import CacheSpec

if TYPE_CHECKING:
    import pandas as pd

Caches = Sequence[CacheSpec | str]


@dataclass(frozen=True)
class Evaluation:
    """What was measured. In a notebook it shows itself as its report, tables and figures."""

    outcome: _core.Outcome

    @property
    def frame(self) -> pd.DataFrame:
        """One row per sample and cache: sample, cache, labels such as length and depth, and numbers such as score,
        kl (nats), cache_bytes and full_bytes."""
        import pandas as pd

        return pd.DataFrame(self.outcome.records)

    def mean(self) -> pd.DataFrame:
        """Means of the numbers by cache, in the order in which the caches were given."""
        return self.frame.groupby("cache", sort=False).mean(numeric_only=True)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Samples that could not be measured, with the reason."""
        return self.outcome.skipped

    @property
    def figures(self) -> list[str]:
        """The report's figures, SVG texts."""
        return self.outcome.figures

    @property
    def html(self) -> str:
        """The report as one page that needs nothing else."""
        return self.outcome.html

    def _repr_html_(self) -> str:
        from html import escape

        return (
            f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 40em; border: 0" '
            f'title="{escape(self.outcome.title)}"></iframe>'
        )

    def __str__(self) -> str:
        return self.outcome.text


def kl(
    model: _core.Model,
    text: str,
    caches: Caches,
    *,
    prompt: int = 2048,
    continuation: int = 256,
    samples: int = 8,
    context: int = 0,
    results: str | PathLike[str] = "",
) -> Evaluation:
    """How far next-token distributions move from the full cache's, in nats, on long continuations.

    prompt: tokens prefilled and compressed; continuation: tokens then fed one by one; samples: windows of the
    text. For the cache's error alone load the model with decode_precision="f32". results: a file of results, which
    resumes. Raises Error, as when the text is too short.
    """
    return Evaluation(_core.kl(model, list(caches), text, prompt, continuation, samples, context, fspath(results)))


def needle(
    model: _core.Model,
    caches: Caches,
    *,
    lengths: Sequence[int] = (),
    depths: Sequence[float] = (0, 25, 50, 75, 100),
    repeats: int = 4,
    max_tokens: int = 24,
    seed: int = 1,
    chat: str = "auto",
    haystack: str | PathLike[str] = "",
    results: str | PathLike[str] = "",
) -> Evaluation:
    """Does a fact survive, wherever it stands in a long document?

    lengths: tokens of prompt and answer, empty: 1024, 2048, ... up to the context. depths: percent of the document
    before the fact. chat: 'auto', 'never', 'always'. haystack: a directory of texts, '': synthetic prose.
    """
    return Evaluation(
        _core.needle(
            model,
            list(caches),
            list(lengths),
            list(depths),
            repeats,
            max_tokens,
            seed,
            chat,
            fspath(haystack),
            fspath(results),
        )
    )


def longbench(
    model: _core.Model,
    data: str | PathLike[str],
    caches: Caches,
    *,
    tasks: Sequence[str] = (),
    extended: bool = False,
    limit: int = 0,
    max_length: int = 0,
    context: int = 0,
    chat: str = "auto",
    results: str | PathLike[str] = "",
) -> Evaluation:
    """LongBench's English tasks from its public files, scored as its own script scores them.

    tasks: such as qasper; empty: every file in `data`. limit: samples of each, 0: all. Chinese tasks need a word
    list: `thinkey eval longbench`.
    """
    return Evaluation(
        _core.longbench(
            model, list(caches), fspath(data), list(tasks), extended, limit, max_length, context, chat, fspath(results)
        )
    )
