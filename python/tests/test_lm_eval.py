"""The adapter for lm-evaluation-harness, held against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import thinkey

pytest.importorskip("lm_eval")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.api.registry import get_model  # noqa: E402

import thinkey.lm_eval  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
CHECKPOINT = ROOT / "tests" / "fixtures" / "model" / "llama32"


def request(kind: str, *arguments: Any) -> Instance:
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def test_specs_with_options() -> None:
    assert str(lm("snapkv:64;kernel=7").cache) == "snapkv:64,kernel=7"


def lm(cache: str = "full", **options: Any) -> thinkey.lm_eval.ThinkeyLM:
    made: thinkey.lm_eval.ThinkeyLM = get_model("thinkey").create_from_arg_obj(
        {"pretrained": str(ROOT / "models" / "thinkey-needle.gguf"), "cache": cache, **options}
    )
    return made


def test_log_likelihoods_are_transformers_own() -> None:
    engine = get_model("thinkey").create_from_arg_string(
        f"pretrained={CHECKPOINT},precision=f32,decode_precision=f32", {"batch_size": 1, "device": "cpu"}
    )
    thin = get_model("thinkey").create_from_arg_string(
        f"pretrained={CHECKPOINT},cache=snapkv:4096,precision=f32,decode_precision=f32"
    )
    reference = transformers.AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(3, reference.config.vocab_size, (1, 60), generator=generator)
    with torch.no_grad():
        logits = reference(tokens).logits[0, 44:-1].double().log_softmax(-1)
    wanted = logits.gather(1, tokens[0, 45:, None]).sum().item()
    greedy = bool((logits.argmax(-1) == tokens[0, 45:]).all())
    context, continuation = tokens[0, :45].tolist(), tokens[0, 45:].tolist()
    for model in (engine, thin):  # in one prefill, and token by token through a cache that evicts nothing
        got, is_greedy = model._score(context, continuation)
        assert got == pytest.approx(wanted, rel=1e-4) and is_greedy == greedy


def test_requests() -> None:
    model = lm()
    pairs = [("The passkey for distant island is", " 76848."), ("", "The passkey")]
    scores = model.loglikelihood([request("loglikelihood", *pair) for pair in pairs])
    assert all(score < 0 for score, _ in scores)
    session = thinkey.Session(model.model, "full")
    text = "The passkey for distant island is 76848."
    tokens = model.model.tokenize(text)
    rows = session.prefill_logits(tokens)
    logs = torch.from_numpy(rows[:-1]).double().log_softmax(-1)
    rolling = model.loglikelihood_rolling([request("loglikelihood_rolling", text)])[0]
    assert rolling == pytest.approx(logs.gather(1, torch.tensor(tokens[1:])[:, None]).sum().item(), rel=1e-3)


def test_generation_stops() -> None:
    model = lm("think:0.4")
    whole = model.generate_until([request("generate_until", "The passkey for", {"until": [], "max_gen_toks": 12})])[0]
    stop = whole[3:5]
    cut = model.generate_until([request("generate_until", "The passkey for", {"until": [stop], "max_gen_toks": 12})])
    assert cut == [whole[: whole.find(stop)]]


def test_refusals() -> None:
    with pytest.raises(thinkey.Error, match="unknown model_args"):
        lm(parallelize=True)
    with pytest.raises(thinkey.Error, match="runs on CPUs"):
        lm(device="cuda")
    with pytest.raises(thinkey.Error, match="unknown generation options"):
        lm().generate_until([request("generate_until", "a", {"beams": 3})])
