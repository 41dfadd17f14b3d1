"""Answers, compression of tensors, evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import thinkey
from thinkey import evaluate

ROOT = Path(__file__).parent.parent.parent


def test_generate_and_stream_are_the_same(model: thinkey.Model, document: list[int]) -> None:
    spec = "snapkv:256+think:0.4"
    whole = thinkey.generate(thinkey.Session(model, spec), document, max_tokens=20, temperature=0.9, seed=3)
    assert len(whole.tokens) == 20 and whole.stop_reason == "length" and whole.prompt_tokens == len(document)
    pieces = list(thinkey.stream(thinkey.Session(model, spec), document, max_tokens=20, temperature=0.9, seed=3))
    assert len(pieces) > 1 and "".join(pieces) == whole.text
    other = thinkey.generate(thinkey.Session(model, spec), document, max_tokens=20, temperature=0.9, seed=4)
    assert other.tokens != whole.tokens


def test_a_batch_answers_as_each_alone(model: thinkey.Model, document: list[int]) -> None:
    prompts: list[str | list[int]] = [document[:300], document[300:400], "The passkey for", document[:500]]
    together = thinkey.batch_generate(model, prompts, cache="think:0.4", max_tokens=12, temperature=0)
    for prompt, answer in zip(prompts, together, strict=True):
        alone = thinkey.generate(thinkey.Session(model, "think:0.4"), prompt, max_tokens=12, temperature=0)
        assert answer.tokens == alone.tokens and answer.text == alone.text
        assert answer.stop_reason == alone.stop_reason


def test_a_conversation_goes_on(model: thinkey.Model) -> None:
    session = thinkey.Session(model, "full")
    thinkey.generate(session, "The passkey for distant island is 76848.", max_tokens=1, temperature=0)
    seen = session.tokens_seen
    thinkey.generate(session, model.tokenize(" More.", add_special=False), max_tokens=1, temperature=0)
    assert session.tokens_seen > seen


def test_refused_options(model: thinkey.Model) -> None:
    with pytest.raises(thinkey.Error, match="temperature"):
        thinkey.generate(thinkey.Session(model, "full"), "a", temperature=-1)
    with pytest.raises(thinkey.Error, match="max-tokens"):
        thinkey.generate(thinkey.Session(model, "full"), "a", max_tokens=-2)


Floats = npt.NDArray[np.float32]


def layer(tokens: int = 200) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(1)
    q = rng.normal(size=(4, tokens, 64)).astype(np.float32)
    k = rng.normal(size=(2, tokens, 64)).astype(np.float32)
    v = rng.normal(size=(2, tokens, 64)).astype(np.float32)
    return q, k, v


def test_compress() -> None:
    q, k, v = layer()
    whole = thinkey.compress(q, k, v, "full")
    query = np.random.default_rng(2).normal(size=(1, 4, 64)).astype(np.float32)
    out = whole.attend(query)
    # Attention in numpy.
    for head in range(4):
        logits = k[head // 2] @ query[0, head] / 8
        weights = np.exp(logits - logits.max())
        assert np.abs(out[0, head] - weights @ v[head // 2] / weights.sum()).max() < 1e-3
    thin = thinkey.compress(q, k, v, "snapkv:64+think:0.4,form=paper")
    assert [len(kept) for kept in thin.kept_tokens] == [64, 64]
    assert thin.kept_channels.shape == (2, 64) and (thin.kept_channels.sum(axis=1) == 64 - 25).all()
    assert thin.bytes < 0.5 * thin.full_bytes
    assert list(thin.kept_tokens[0][-32:]) == list(range(168, 200))  # the window


def test_compress_refuses() -> None:
    q, k, v = layer(40)
    with pytest.raises(thinkey.Error, match="v has shape"):
        thinkey.compress(q, k, v[:, :39], "full")
    with pytest.raises(thinkey.Error, match="NaN"):
        thinkey.compress(q, np.full_like(k, np.nan), v, "full")
    with pytest.raises(thinkey.Error, match="kvzip has the model repeat"):
        thinkey.compress(q, k, v, "kvzip:50%")
    with pytest.raises(thinkey.Error, match="must be \\[heads, T, D\\]"):
        thinkey.compress(q[0], k, v, "full")
    with pytest.raises(thinkey.Error, match="cannot share"):
        thinkey.compress(q[:3], k, v, "full")


def test_compress_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    q, k, v = layer()
    spec = "h2o:64+think:0.4+kivi:4"
    wanted = thinkey.compress(q, k, v, spec)
    got = thinkey.compress(torch.from_numpy(q), torch.from_numpy(k), torch.from_numpy(v), spec)
    assert np.array_equal(wanted.kept_channels, got.kept_channels)
    assert all(np.array_equal(a, b) for a, b in zip(wanted.kept_tokens, got.kept_tokens, strict=True))
    halves = [torch.from_numpy(x).bfloat16() for x in (q, k, v)]
    half = thinkey.compress(halves[0], halves[1], halves[2], spec)
    assert [len(kept) for kept in half.kept_tokens] == [64, 64]


def test_evaluations_are_data_frames(model: thinkey.Model, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    text = "\n".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("results.md", "methods.md"))
    results = tmp_path / "kl.jsonl"
    run = evaluate.kl(model, text, ["full", "think:0.6"], prompt=300, continuation=20, samples=2, results=results)
    assert isinstance(run.frame, pd.DataFrame) and len(run.frame) == 4
    divergence = run.mean()["kl"]
    assert divergence["think:0.6"] > divergence["full"] >= 0
    again = evaluate.kl(model, text, ["full", "think:0.6"], prompt=300, continuation=20, samples=2, results=results)
    assert again.frame.equals(run.frame)  # from the file
    assert "think:0.6" in str(run) and "<iframe" in run._repr_html_() and run.html.startswith("<!")

    needles = evaluate.needle(model, ["full", "streaming:64"], lengths=[512], depths=[50, 100], repeats=2)
    assert set(needles.frame["depth"]) == {"50", "100"}
    scores = needles.mean()["score"]
    assert scores["full"] > scores["streaming:64"]
    assert any("<svg" in figure for figure in needles.figures)


def test_longbench(model: thinkey.Model, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    (tmp_path / "qasper.jsonl").write_text(
        '{"input": "What is it?", "context": "It is a passkey.", "answers": ["a passkey"], "length": 4, '
        '"dataset": "qasper", "language": "en", "all_classes": null, "_id": "one"}\n',
        encoding="utf-8",
    )
    run = evaluate.longbench(model, tmp_path, ["full"])
    assert list(run.frame["sample"]) and "score" in run.frame.columns
    with pytest.raises(thinkey.Error, match="nothing"):
        evaluate.longbench(model, tmp_path, ["full"], tasks=["nothing"])
