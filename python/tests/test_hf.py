"""ThinCache in transformers: held against transformers' own cache, and against our engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thinkey

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from thinkey.hf import ThinCache  # noqa: E402

CHECKPOINTS = Path(__file__).parent.parent.parent / "tests" / "fixtures" / "model"
# Scale, soft cap, sinks, windows in all and in some layers, norms of queries and keys.
FAMILIES = ["llama32", "mistral_v01", "gemma2", "gemma3", "gpt_oss_bf16", "qwen3", "granite", "olmo2"]
SPECS = ["full", "snapkv:48+think:0.4", "think:keys=0.4,values=0.25+kivi:4", "h2o:48", "keydiff:50%"]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def checkpoint(name: str, attention: str = "thinkey") -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        CHECKPOINTS / name, attn_implementation=attention, dtype=torch.float32
    )
    return model.eval()


def tokens_of(model: Any, n: int, rows: int = 1, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, model.config.get_text_config().vocab_size, (rows, n), generator=generator)


def close(got: Any, wanted: Any, share: float) -> None:
    got, wanted = torch.as_tensor(np.asarray(got)), torch.as_tensor(np.asarray(wanted))
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= share * wanted.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_cache_is_transformers_own(family: str) -> None:
    eager = checkpoint(family, "eager")
    model = checkpoint(family)
    tokens = tokens_of(model, 70)
    wanted = eager(tokens).logits[0]
    cache = ThinCache("full")
    close(model(tokens[:, :50], past_key_values=cache).logits[0], wanted[:50], 1e-4)
    close(model(tokens[:, 50:60], past_key_values=cache).logits[0], wanted[50:60], 2e-3)  # a later turn
    for i in range(60, 70):
        close(model(tokens[:, i : i + 1], past_key_values=cache).logits[0, -1], wanted[i], 2e-3)
    assert cache.get_seq_length() == 70


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_our_engines(family: str, spec: str) -> None:
    model = checkpoint(family)
    engine = thinkey.Model.load(CHECKPOINTS / family, precision="f32", decode_precision="f32")
    tokens = tokens_of(model, 100)
    session = thinkey.Session(engine, spec)
    session.prefill(tokens[0, :90].tolist())
    cache = ThinCache(spec)
    close(model(tokens[:, :90], past_key_values=cache).logits[0, -1], session.logits, 1e-3)
    for i in range(90, 100):
        session.decode(int(tokens[0, i]))
        close(model(tokens[:, i : i + 1], past_key_values=cache).logits[0, -1], session.logits, 5e-3)
    assert cache.reports()[0].bytes == session.report().bytes == cache.bytes
    assert cache.reports()[0].spec == session.report().spec


def test_a_padded_batch_answers_as_each_row_alone() -> None:
    model = checkpoint("llama32")
    lengths = (90, 60, 33)
    rows = [tokens_of(model, n, seed=n)[0] for n in lengths]
    padded = torch.zeros((3, 90), dtype=torch.long)
    mask = torch.zeros((3, 90), dtype=torch.long)
    for b, row in enumerate(rows):
        padded[b, 90 - len(row) :] = row
        mask[b, 90 - len(row) :] = 1
    spec = "snapkv:32,window=8+think:0.4,window=8"
    options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    cache = ThinCache(spec)
    together = model.generate(padded, attention_mask=mask, past_key_values=cache, **options)
    for b, row in enumerate(rows):
        alone = model.generate(
            row[None], attention_mask=torch.ones_like(row[None]), past_key_values=ThinCache(spec), **options
        )
        assert together[b, 90:].tolist() == alone[0, len(row) :].tolist()
        assert cache.reports()[b].tokens_seen == len(row) + 7


def test_beams_are_transformers_own() -> None:
    tokens = tokens_of(checkpoint("llama32"), 40, rows=2)
    options: dict[str, Any] = {
        "attention_mask": torch.ones_like(tokens), "num_beams": 3, "max_new_tokens": 6, "do_sample": False,
        "eos_token_id": None, "pad_token_id": 0,
    }  # fmt: skip
    wanted = checkpoint("llama32", "eager").generate(tokens, **options)
    assert checkpoint("llama32").generate(tokens, past_key_values=ThinCache("full"), **options).tolist() == wanted.tolist()


def test_policies_that_undo_rope() -> None:
    model = checkpoint("llama2")
    with pytest.raises(thinkey.Error, match="give the model"):
        ThinCache("expected:48")
    engine = thinkey.Model.load(CHECKPOINTS / "llama2", precision="f32", decode_precision="f32")
    tokens = tokens_of(model, 90)
    for spec in ("expected:48", "compactor:50%"):
        session = thinkey.Session(engine, spec)
        session.prefill(tokens[0].tolist())
        session.decode(5)
        cache = ThinCache(spec, model)
        model(tokens, past_key_values=cache)
        close(model(torch.tensor([[5]]), past_key_values=cache).logits[0, -1], session.logits, 5e-3)


def test_crop_and_reset() -> None:
    model = checkpoint("llama32")
    tokens = tokens_of(model, 60)
    cache = ThinCache("full")
    model(tokens[:, :50], past_key_values=cache)
    wanted = model(tokens[:, 50:51], past_key_values=cache).logits
    model(tokens[:, 51:60], past_key_values=cache)
    cache.crop(50)
    assert cache.get_seq_length() == 50
    close(model(tokens[:, 50:51], past_key_values=cache).logits, wanted, 1e-5)
    evicting = ThinCache("snapkv:40")
    model(tokens, past_key_values=evicting)
    with pytest.raises(thinkey.Error, match="cannot go back"):
        evicting.crop(50)
    cache.reset()
    assert cache.bytes == 0 and cache.get_seq_length() == 0


def test_memory_falls() -> None:
    model = checkpoint("llama32")
    tokens = tokens_of(model, 240)
    full, thin = ThinCache("full"), ThinCache("snapkv:33+think:0.4+kivi:4")
    model(tokens, past_key_values=full)
    model(tokens, past_key_values=thin)
    assert thin.bytes < 0.5 * full.bytes


def test_refusals() -> None:
    tokens = tokens_of(checkpoint("llama32"), 20)
    with pytest.raises(thinkey.Error, match="does not attend with thinkey"):
        checkpoint("llama32", "sdpa")(tokens, past_key_values=ThinCache("full"))
    model = checkpoint("llama32")
    with pytest.raises(thinkey.Error, match="there is no ThinCache"):
        model(tokens)
    mask = torch.ones_like(tokens)
    mask[0, -3:] = 0
    with pytest.raises(thinkey.Error, match="padded at its left"):
        model(tokens, attention_mask=mask, past_key_values=ThinCache("full"))
    with pytest.raises(thinkey.Error, match="only padding masks"):
        model(tokens, attention_mask=torch.zeros((1, 1, 20, 20)), past_key_values=ThinCache("full"))
    with pytest.raises(thinkey.Error, match="kvzip"):
        model(tokens, past_key_values=ThinCache("kvzip:50%"))
    with torch.enable_grad(), pytest.raises(thinkey.Error, match="gradients"):
        model(tokens, past_key_values=ThinCache("full"))
