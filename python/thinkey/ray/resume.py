"""Streams that survive a replica: its answer is computed again by another one, and what the client has is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# What differs from one run of the same answer to the next.
_NAMES = frozenset({"id", "item_id", "response_id", "call_id"})
_IGNORED = _NAMES | {"created", "created_at", "usage", "cache"}


class Diverged(Exception):
    """The other run says something else."""


class EventStream:
    """Cuts what arrives into whole events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The events that are complete now, each with its empty line."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            yield event + b"\n\n"


class Transcript:
    """What a client was sent. Another run of the same answer continues it: `replay()` begins one."""

    def __init__(self) -> None:
        self._sent: list[bytes] = []
        self._at = 0  # of the events sent, those that this run has repeated
        self._names: dict[str, str] = {}  # this run's names, as the client knows them

    @property
    def empty(self) -> bool:
        return not self._sent

    def replay(self) -> None:
        """The next event is the answer's first again."""
        self._at = 0
        self._names = {}

    def next(self, event: bytes) -> bytes | None:
        """An event of this run, as it is to be sent; None where the client has it. Raises Diverged."""
        if self._at == len(self._sent):
            event = self._renamed(event) if self._names else event
            self._sent.append(event)
            self._at += 1
            return event
        before, now = _data(self._sent[self._at]), _data(event)
        if not _alike(before, now):
            raise Diverged
        self._names.update(_pairs(now, before))
        self._at += 1
        return None

    def _renamed(self, event: bytes) -> bytes:
        text = event.decode()
        for name, known in self._names.items():
            text = text.replace(json.dumps(name), json.dumps(known))
        return text.encode()


def _data(event: bytes) -> object:
    for line in event.decode("utf-8", "replace").splitlines():
        if line.startswith("data:"):
            try:
                return json.loads(line[5:])
            except ValueError:
                return line
    return event


def _alike(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(key in _IGNORED or _alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    return bool(a == b)


def _pairs(now: Any, before: Any) -> Iterator[tuple[str, str]]:
    """The names in an event, each with what the client knows it by."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key, value in now.items():
            if key in _NAMES and isinstance(value, str) and isinstance(before.get(key), str):
                yield value, before[key]
            else:
                yield from _pairs(value, before.get(key))
    elif isinstance(now, list) and isinstance(before, list):
        for one, other in zip(now, before, strict=False):
            yield from _pairs(one, other)
