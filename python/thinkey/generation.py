"""Answers: whole, as they come, and of many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypedDict, Unpack

from thinkey import _core
from thinkey.cache_spec import CacheSpec

Progress = Callable[[float, float], object]


class Sampling(TypedDict, total=False):
    """SamplerOptions' fields, as keyword arguments."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    repeat_last_n: int
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    seed: int


def _tokens(model: _core.Model, prompt: str | Sequence[int]) -> Sequence[int]:
    return model.tokenize(prompt) if isinstance(prompt, str) else prompt


def _generator(
    session: _core.Session,
    prompt: str | Sequence[int],
    max_tokens: int,
    progress: Progress | None,
    sampling: Sampling,
) -> _core.Generator:
    return _core.Generator(
        session,
        _tokens(session.model, prompt),
        max_tokens=max_tokens,
        sampler=_core.SamplerOptions(**sampling),
        progress=progress,
    )


def generate(
    session: _core.Session,
    prompt: str | Sequence[int],
    *,
    max_tokens: int = -1,
    progress: Progress | None = None,
    **sampling: Unpack[Sampling],
) -> _core.Generation:
    """Feeds `prompt` to the session and generates until an end token, `max_tokens` (-1: none) or a full context.

    A text is tokenized with the model's special tokens; for a chat give
    `model.tokenize_chat(model.apply_chat_template(messages))`. The prompt may be empty when the session holds
    tokens. Afterwards the session holds prompt and answer: a conversation goes on from there.
    `progress(done, total)`: of the prefill. Raises Error.
    """
    generator = _generator(session, prompt, max_tokens, progress, sampling)
    while generator.step():
        pass
    return generator.result


def stream(
    session: _core.Session,
    prompt: str | Sequence[int],
    *,
    max_tokens: int = -1,
    progress: Progress | None = None,
    **sampling: Unpack[Sampling],
) -> Iterator[str]:
    """generate() that yields the answer's text, in whole characters, as it comes."""
    generator = _generator(session, prompt, max_tokens, progress, sampling)
    more = True
    while more:
        more = generator.step()
        if text := generator.take_text():
            yield text


def batch_generate(
    model: _core.Model,
    prompts: Sequence[str | Sequence[int]],
    *,
    cache: CacheSpec | str = "full",
    context: int = 0,
    max_tokens: int = -1,
    **sampling: Unpack[Sampling],
) -> list[_core.Generation]:
    """Answers to independent prompts, in their order. Prompts are prefilled one by one; then all go on together,
    so that the weights are read once per step for all of them. Every session is held until the end."""
    sampler = _core.SamplerOptions(**sampling)
    generators = [
        _core.Generator(
            _core.Session(model, cache, context=context),
            _tokens(model, prompt),
            max_tokens=max_tokens,
            sampler=sampler,
        )
        for prompt in prompts
    ]
    while _core.Generator.step_together(generators):
        pass
    return [generator.result for generator in generators]
