"""Cache specs as objects: what is done to the KV cache, stage by stage.

    CacheSpec.parse("snapkv:2048+think:0.4")
    CacheSpec(Eviction(SnapKV(kernel=7, pooling="max"), budget=2048), Channels(keys=0.4))

`str(spec)` is the canonical text; parsing it gives the same spec. Formulas and sources: docs/methods.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from thinkey import _core

Pooling: TypeAlias = Literal["average", "max"]


@dataclass(frozen=True)
class NoEviction:
    """All tokens are kept."""


@dataclass(frozen=True)
class SnapKV:
    """Tokens that the last prompt queries attend to (arXiv 2404.14469)."""

    window: int = 32  # last prompt queries, always kept
    kernel: int = 5  # pooling width along tokens, odd
    pooling: Pooling = "average"


@dataclass(frozen=True)
class H2O:
    """Tokens that all prompt queries attend to, accumulated (2306.14048)."""

    window: int = 32
    observe_window: bool = False  # sum over the window's queries only


@dataclass(frozen=True)
class PyramidKV:
    """SnapKV with more budget in the lower layers (2406.02069)."""

    window: int = 32
    kernel: int = 5
    pooling: Pooling = "average"
    beta: float = 20.0  # the last layer's share of its mean budget is 1 / beta


@dataclass(frozen=True)
class Streaming:
    """The first and the last tokens (2309.17453)."""

    sinks: int = 4


@dataclass(frozen=True)
class Tova:
    """Tokens that the last query attends to, the same in every head (2401.06104)."""


@dataclass(frozen=True)
class ExpectedAttention:
    """Tokens that queries to come are expected to attend to (2510.00636)."""

    future: int = 512
    sinks: int = 4
    covariance: bool = True
    output_norm: bool = False
    epsilon: float = 0.0
    window: int = 128


@dataclass(frozen=True)
class KeyDiff:
    """Tokens whose keys differ most from the mean key (2504.15364)."""


@dataclass(frozen=True)
class KVzip:
    """Tokens that the model attends to when it repeats the prompt (2505.23416)."""

    sinks: int = 4
    normalized: bool = False


@dataclass(frozen=True)
class Compactor:
    """Outliers among the keys, and what queries near them attend to (2507.08143)."""

    sinks: int = 8
    recent: int = 4
    block: int = 256
    blend: float = -1.0  # weight of the outliers; negative: the share of tokens evicted


@dataclass(frozen=True)
class LagKV:
    """Tokens whose keys and values spread most by the range of those that follow (2504.04704)."""

    sinks: int = 4
    lag: int = 128


@dataclass(frozen=True)
class RKV:
    """Tokens that the latest queries attend to and no later token resembles (R-KV, 2505.24133)."""

    window: int = 8
    kernel: int = 7
    lambda_: float = 0.1  # weight of attention; the rest: of redundancy
    similarity: float = 0.5


Policy: TypeAlias = (
    NoEviction
    | SnapKV
    | H2O
    | PyramidKV
    | Streaming
    | Tova
    | ExpectedAttention
    | KeyDiff
    | KVzip
    | Compactor
    | LagKV
    | RKV
)


@dataclass(frozen=True)
class Eviction:
    """Which prompt tokens a KV head keeps: a policy scores them, the best within the budget stay."""

    policy: Policy = NoEviction()
    budget: int = 0  # tokens per KV head, or
    percent: float = 0.0  # a share of the prompt
    every: int = 0  # evict again after so many generated tokens; 0: never
    adakv: bool = False  # a layer's places go to the best tokens of all its heads (2407.11550)
    floor: float = 0.2  # ... but for this share of the budget
    critical: bool = False  # half by score, the rest by score times |W_o v| (2502.03805)
    chunk: int = 0  # tokens are ranked by so many together (2502.00299)


@dataclass(frozen=True)
class Channels:
    """ThinK (2407.21018): the share of channels removed from all but the latest tokens."""

    keys: float = 0.0  # pruning ratio in [0, 1)
    values: float = 0.0
    recent: int = 32  # latest tokens that stay whole
    window: int = 32  # queries that score the channels
    bias: bool = False  # what is dropped is replaced by its mean
    adaptive: bool = False  # spread over heads and layers by marginal loss
    form: Literal["mixed", "paper"] = "mixed"  # 16, 8, 4, 2 or no bits per channel within the bytes; or D' whole


@dataclass(frozen=True)
class Quantization:
    """KIVI (2402.02750): keys per channel, values per token."""

    bits: int = 16  # 16 (off), 8, 4 or 2
    group: int = 32  # value channels that share a scale
    residual: int = 128  # latest tokens that stay in 16 bits


@dataclass(frozen=True)
class Turbo:
    """TurboQuant (2504.19874), rotated; excludes Quantization."""

    keys: int = 16  # bits: 16 (off), 8, 6, 5, 4, 3, 2 or 1
    values: int = 16
    sinks: int = 4
    recent: int = 28
    percent: float = 0.0  # instead of bits a budget: share of the full cache; 0: none
    bytes: int = 0  # likewise, in bytes


@dataclass(frozen=True)
class CacheSpec:
    """Token eviction, then channel pruning, then quantization.

    Raises thinkey.Error, a ValueError, for values out of range, naming the word and the choices.
    """

    eviction: Eviction = field(default_factory=Eviction)
    channels: Channels = field(default_factory=Channels)
    quantization: Quantization = field(default_factory=Quantization)
    turbo: Turbo = field(default_factory=Turbo)
    automatic: bool = False  # stages are chosen for turbo's budget, as "auto:25%" writes

    def __post_init__(self) -> None:
        _core.print_spec(self)  # refuses what is out of range

    @classmethod
    def parse(cls, text: str) -> CacheSpec:
        """The spec that `text` writes, such as "snapkv:25%+think:0.4+kivi:4"."""
        return _core.parse_spec(text)

    def normalized(self) -> CacheSpec:
        """The same without what its stages do not look at."""
        return _core.normalize_spec(self)

    @property
    def question_dependent(self) -> bool:
        """Whether what is kept depends on the prompt's last queries, and so serves the question they ask."""
        return _core.spec_is_question_dependent(self)

    def __str__(self) -> str:
        """Canonical text: parse(str(spec)) == spec.normalized()."""
        return _core.print_spec(self)
