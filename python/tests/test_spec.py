"""Cache specs as objects."""

from __future__ import annotations

import dataclasses

import pytest

import thinkey
from thinkey import cache_spec
from thinkey.cache_spec import CacheSpec, Channels, Eviction, Quantization, SnapKV, Turbo

SPECS = [
    "full",
    "snapkv:2048+think:0.4",
    "snapkv:25%,kernel=7,pool=max+think:0.8,form=paper+kivi:4",
    "h2o:100",
    "pyramidkv:10%,beta=10",
    "streaming:64",
    "tova:64",
    "expected:64",
    "keydiff:64",
    "kvzip:50%",
    "compactor:50%",
    "lagkv:50%",
    "rkv:128,every=64",
    "snapkv:64,adakv,critical",
    "turbo:keys=3,values=2",
]


@pytest.mark.parametrize("text", SPECS)
def test_prints_what_it_parsed(text: str) -> None:
    spec = CacheSpec.parse(text)
    assert CacheSpec.parse(str(spec)) == spec == spec.normalized()


def test_objects_and_text_are_the_same() -> None:
    made = CacheSpec(Eviction(SnapKV(kernel=7, pooling="max"), budget=512), Channels(keys=0.4), Quantization(bits=4))
    assert made.normalized() == CacheSpec.parse("snapkv:512,kernel=7,pool=max+think:0.4+kivi:4")
    assert str(dataclasses.replace(made, turbo=Turbo(), quantization=Quantization())) == (
        "snapkv:512,kernel=7,pool=max+think:0.4"
    )


@pytest.mark.parametrize(
    "name", ["SnapKV", "H2O", "PyramidKV", "Streaming", "Tova", "ExpectedAttention", "KeyDiff", "KVzip", "Compactor",
             "LagKV", "RKV"]
)  # fmt: skip
def test_defaults_are_the_engines(name: str) -> None:
    # What has its default is not printed, and what was parsed has the engine's.
    spec = CacheSpec(Eviction(getattr(cache_spec, name)(), budget=4096))
    assert "," not in str(spec)
    assert CacheSpec.parse(str(spec)) == spec


def test_stage_defaults_are_the_engines() -> None:
    assert CacheSpec() == CacheSpec.parse("full")


def test_questions() -> None:
    assert CacheSpec.parse("snapkv:64").question_dependent
    assert not CacheSpec.parse("keydiff:64").question_dependent


def test_refusals_name_the_word() -> None:
    with pytest.raises(thinkey.Error, match="unknown stage 'snapk'"):
        CacheSpec.parse("snapk:64")
    with pytest.raises(ValueError, match="bits"):
        CacheSpec(quantization=Quantization(bits=3))
    with pytest.raises(thinkey.Error, match="kernel must be an integer"):
        CacheSpec(Eviction(SnapKV(kernel="wide"), budget=64))  # type: ignore[arg-type]
    with pytest.raises(thinkey.Error, match="pooling must be"):
        CacheSpec(Eviction(SnapKV(pooling="mean"), budget=64))  # type: ignore[arg-type]
    with pytest.raises(thinkey.Error, match="policy must be"):
        CacheSpec(Eviction("snapkv", budget=64))  # type: ignore[arg-type]
