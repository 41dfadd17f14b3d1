"""The parts of thinkey.ray that need no Ray: beginnings of prompts, and streams that go on elsewhere."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGE = Path(__file__).parent.parent / "thinkey" / "ray"


def load(name: str) -> ModuleType:
    """A module of the package by itself: the package imports Ray, which these do not need."""
    spec = importlib.util.spec_from_file_location(f"thinkey_ray_{name}", PACKAGE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


prefix = load("prefix")
resume = load("resume")


def chat(*messages: tuple[str, str], **more: Any) -> list[tuple[int, int]]:
    body = {"messages": [{"role": role, "content": content} for role, content in messages], **more}
    return list(prefix.chain_of("/v1/chat/completions", body))


def shared(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> int:
    """Bytes."""
    common = set(a) & set(b)
    return max((length for length, _ in common), default=0)


def test_conversations_begin_with_their_past() -> None:
    first = chat(("system", "Be brief."), ("user", "Who?"))
    second = chat(("system", "Be brief."), ("user", "Who?"), ("assistant", "Nobody."), ("user", "Why?"))
    assert second[: len(first)] == first
    assert shared(first, chat(("system", "Be brief."), ("user", "What?"))) == first[0][0]
    assert shared(first, chat(("system", "Be long."), ("user", "Who?"))) == 0


def test_documents_within_a_message_begin_alike() -> None:
    document = "".join(f"line {i}\n" for i in range(1000))
    one, other = chat(("user", document + "Who?")), chat(("user", document + "When?"))
    assert shared(one, other) == len(document) // prefix.STEP * prefix.STEP
    assert [length for length, _ in one[:3]] == [prefix.STEP, 2 * prefix.STEP, 3 * prefix.STEP]


@pytest.mark.parametrize("field", ["cache", "tools", "chat_template_kwargs", "model"])
def test_what_keeps_a_cache_from_use_keeps_prompts_apart(field: str) -> None:
    assert shared(chat(("user", "Who?")), chat(("user", "Who?"), **{field: ["x"]})) == 0
    assert shared(chat(("user", "Who?")), chat(("user", "Who?"), temperature=1)) > 0


def test_other_paths_have_prompts_too() -> None:
    text = "a" * 5000
    complete = prefix.chain_of("/v1/completions", {"prompt": text})
    assert len(complete) == 5 and complete == prefix.chain_of("/v1/completions", {"prompt": [text, "b"]})
    assert prefix.chain_of("/v1/completions", {"prompt": [1, 2, 3]}) != []
    assert prefix.chain_of("/v1/responses", {"input": text}) == prefix.chain_of(
        "/v1/responses", {"input": [{"role": "user", "content": text}]}
    )
    parts = [{"type": "text", "text": text}]
    assert prefix.chain_of("/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]}) == chat(
        ("user", text)
    )


@pytest.mark.parametrize(
    "body", [{}, {"messages": 3}, {"messages": [3, None]}, {"prompt": {"a": []}}, {"messages": [{"content": [1]}]}]
)
def test_nonsense_is_the_servers_to_refuse(body: dict[str, Any]) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/health"):
        prefix.chain_of(path, body)


def test_holders_know_the_longest_beginning() -> None:
    holders = prefix.Holders(most=6)
    document = "x" * 3000
    chain = prefix.chain_of("/v1/completions", {"prompt": document})
    holders.add("a", [value for _, value in chain])
    holders.add("b", [value for _, value in chain[:1]])
    assert holders.held(chain) == {"a": 3000, "b": 1024}
    holders.drop("a")
    assert holders.held(chain) == {"b": 1024}
    holders.add("c", range(6))
    assert holders.held(chain) == {}, "the oldest go"
    assert holders.latest(2) == [4, 5]


def event(name: str, **data: Any) -> bytes:
    return b"data: " + json.dumps({"id": name, "created": hash(name), **data}).encode() + b"\n\n"


def answer(name: str, *words: str) -> Iterator[bytes]:
    for word in words:
        yield event(name, choices=[{"delta": {"content": word}}])
    yield b"data: [DONE]\n\n"


def test_a_stream_goes_on_where_it_was() -> None:
    whole = list(answer("one", "a", "b", "c", "d"))
    for cut in range(len(whole) + 1):
        transcript = resume.Transcript()
        got = [transcript.next(e) for e in whole[:cut]]
        transcript.replay()
        got += [e for e in map(transcript.next, answer("two", "a", "b", "c", "d")) if e is not None]
        texts = [json.loads(e[6:]) for e in got[:-1]]
        assert [t["choices"][0]["delta"]["content"] for t in texts] == ["a", "b", "c", "d"]
        assert {t["id"] for t in texts} == {"one" if cut else "two"}
        assert got[-1] == b"data: [DONE]\n\n"


def test_a_stream_survives_twice() -> None:
    transcript = resume.Transcript()
    got = [transcript.next(e) for e in list(answer("one", "a", "b", "c"))[:1]]
    for name, upto in (("two", 2), ("three", 4)):
        transcript.replay()
        got += [e for e in map(transcript.next, list(answer(name, "a", "b", "c"))[:upto]) if e is not None]
    assert b"".join(e for e in got if e).count(b'"one"') == 3 and got[-1] == b"data: [DONE]\n\n"


def test_another_answer_is_not_sold_as_this_one() -> None:
    transcript = resume.Transcript()
    for e in list(answer("one", "a", "b"))[:2]:
        transcript.next(e)
    transcript.replay()
    events = answer("two", "a", "x")
    assert transcript.next(next(events)) is None
    with pytest.raises(resume.Diverged):
        transcript.next(next(events))


def test_events_are_cut_where_they_end() -> None:
    stream = resume.EventStream()
    data = b"".join(answer("one", "a", "b\\n\\n", "c"))
    for size in (1, 7, len(data)):
        got = [e for at in range(0, len(data), size) for e in stream.feed(data[at : at + size])]
        assert got == list(answer("one", "a", "b\\n\\n", "c"))
