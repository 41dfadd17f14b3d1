"""Models and sessions."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import thinkey


def test_model(model: thinkey.Model) -> None:
    assert model.info.architecture == "llama"
    ids = model.tokenize("Grüße aus Köln")
    assert ids[0] == model.bos
    assert model.detokenize(ids) == "Grüße aus Köln"
    assert model.tokenize("a", add_special=False)[0] != model.bos
    estimate = model.estimate("snapkv:64+think:0.4", 1000, 10)
    assert 0 < estimate.cache < model.estimate("full", 1000, 10).cache
    assert estimate.total > estimate.cache


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(thinkey.Error, match="nowhere.gguf"):
        thinkey.Model.load(tmp_path / "nowhere.gguf")
    with pytest.raises(thinkey.Error, match="precision"):
        thinkey.Model.load(tmp_path / "nowhere.gguf", precision="f8")
    with pytest.raises(thinkey.Error, match="prefill_weights"):
        thinkey.Model.load(tmp_path / "nowhere.gguf", prefill_weights="warm")


def test_kept_prefill_weights_change_nothing() -> None:
    path = Path(__file__).parent.parent.parent / "tests" / "fixtures" / "model" / "quantized.gguf"
    fresh, kept = (thinkey.Model.load(path, prefill_weights=word) for word in ("fresh", "kept"))
    assert fresh.info.prefill_weight_bytes == 0
    assert (kept.info.prefill_weight_bytes > 0) == fresh.info.prefill_arithmetic.endswith("int8")
    prompt = [1 + 7 * i % 20 for i in range(40)]
    logits = []
    for model in (fresh, kept):
        session = thinkey.Session(model, "full")
        session.prefill(prompt)
        logits.append(np.array(session.logits))
    assert np.array_equal(logits[0], logits[1])


def test_chat_template(model: thinkey.Model) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert model.apply_chat_template(messages, chat_template="chatml") == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    source = "{{ messages[0].content }}{% if shout %}!{% endif %}"
    assert model.apply_chat_template(messages, chat_template=source, variables={"shout": True}) == "Hi!"
    with pytest.raises(thinkey.Error, match="nonsense"):
        model.apply_chat_template(messages, chat_template="nonsense")


def test_logits_are_the_sessions_memory(model: thinkey.Model, document: list[int]) -> None:
    session = thinkey.Session(model, "full")
    session.prefill(document)
    logits = session.logits
    assert logits.shape == (model.info.vocabulary,) and logits.dtype == np.float32
    assert not logits.flags.writeable and not logits.flags.owndata
    before = logits.copy()
    session.decode(int(logits.argmax()))
    assert np.array_equal(session.logits, logits)  # the same memory, overwritten
    assert not np.array_equal(before, logits)
    del session
    assert np.isfinite(logits).all()  # which the array keeps alive


def test_prefill_is_decode_step_by_step(model: thinkey.Model, document: list[int]) -> None:
    whole = thinkey.Session(model, "full")
    rows = whole.prefill_logits(document[:100])
    assert rows.shape == (100, model.info.vocabulary)
    assert np.array_equal(rows[-1], whole.logits)
    step = thinkey.Session(model, "full")
    for i, token in enumerate(document[:100]):
        step.decode(token)
        assert np.abs(step.logits - rows[i]).max() < 0.05 * np.abs(rows[i]).max()


def test_fork_save_and_load(model: thinkey.Model, document: list[int], tmp_path: Path) -> None:
    session = thinkey.Session(model, "snapkv:128+think:0.4")
    session.prefill(document)
    report = session.report()
    assert report.spec == "snapkv:128+think:0.4" and report.tokens_seen == len(document)
    assert report.bytes == session.cache_bytes_allocated < 0.2 * report.full_bytes
    assert len(report.layers) == model.info.layers and sum(layer.bytes for layer in report.layers) == report.bytes

    fork = session.fork()
    # Shared but for the last blocks.
    assert session.cache_bytes_allocated < 2 * report.bytes
    session.save(tmp_path / "s.kv")
    restored = thinkey.Session.load(model, tmp_path / "s.kv")
    for token in (5, 6, 7):
        session.decode(token)
    for other in (fork, restored):
        for token in (5, 6, 7):
            other.decode(token)
        assert np.array_equal(other.logits, session.logits)
    del session  # what the fork shares stays
    fork.decode(8)
    with pytest.raises(thinkey.Error, match="empty session"):
        thinkey.Session(model, "full").fork()


def test_refused_tokens(model: thinkey.Model) -> None:
    session = thinkey.Session(model, "full", context=16)
    with pytest.raises(thinkey.Error, match="outside the model's vocabulary"):
        session.prefill([10**6])
    with pytest.raises(thinkey.Error, match="at least one"):
        session.prefill([])
    with pytest.raises(thinkey.Error, match="do not fit the context of 16"):
        session.prefill([5] * 17)


def test_progress_and_what_it_raises(model: thinkey.Model, document: list[int]) -> None:
    session = thinkey.Session(model, "full")
    seen: list[tuple[float, float]] = []
    session.prefill(document, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 10 and seen == sorted(seen) and seen[-1][0] == pytest.approx(seen[-1][1])

    def stop(done: float, total: float) -> None:
        raise RuntimeError("enough")

    session = thinkey.Session(model, "full")
    with pytest.raises(RuntimeError, match="enough"):
        session.prefill(document, progress=stop)
    assert session.tokens_seen == 0
    session.prefill(document)  # it is empty, and works


def test_ctrl_c_ends_a_prefill(model: thinkey.Model, document: list[int]) -> None:
    session = thinkey.Session(model, "full", context=10**6)
    tokens = document * 40  # many seconds
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        session.prefill(tokens)
    assert time.monotonic() - start < 15
    assert session.tokens_seen == 0


def test_other_threads_run_meanwhile(model: thinkey.Model, document: list[int]) -> None:
    session = thinkey.Session(model, "full", context=10**6)
    running = threading.Event()
    ticks = 0

    def compute() -> None:
        session.prefill(document * 8)
        running.set()

    thread = threading.Thread(target=compute)
    thread.start()
    while not running.wait(0.005):
        ticks += 1
    thread.join()
    assert ticks > 10  # with the interpreter's lock held, there would be one at most


def test_threads_take_turns(model: thinkey.Model, document: list[int]) -> None:
    session = thinkey.Session(model, "snapkv:64")
    session.prefill(document[:200])
    forks = [session.fork() for _ in range(3)]

    def run(fork: thinkey.Session) -> None:
        for token in range(5, 25):
            fork.decode(token)

    threads = [threading.Thread(target=run, args=(fork,)) for fork in forks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(fork.logits, forks[0].logits) for fork in forks)
