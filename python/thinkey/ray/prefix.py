"""Which prompts begin alike: hashes of their beginnings, and who has seen which."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

STEP = 1024  # bytes of a prompt between two hashes

Chain = list[tuple[int, int]]
"""(bytes of the prompt so far, hash of them), longest last. Prompts that begin alike have chains that begin alike."""


def chain_of(path: str, body: Mapping[str, Any]) -> Chain:
    """Of a request's prompt, cut at the ends of messages and every STEP bytes within one.

    What a server can only reuse when it is the same (the cache's spec, tools, variables of the template) is hashed
    before everything else. Empty where there is no prompt, or none that this understands.
    """
    pieces = list(_pieces(path, body))
    if not pieces:
        return []
    same = {key: body.get(key) for key in ("model", "cache", "tools", "chat_template_kwargs")}
    digest = _hash(b"", path.encode() + _json(same))
    chain: Chain = []
    length = 0
    for piece in pieces:
        for at in range(0, len(piece), STEP):
            part = piece[at : at + STEP]
            digest = _hash(digest, part)
            length += len(part)
            chain.append((length, int.from_bytes(digest, "little")))
    return chain


def _hash(before: bytes, part: bytes) -> bytes:
    return blake2b(before + part, digest_size=8).digest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _pieces(path: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    if path == "/v1/chat/completions":
        yield from _messages(body.get("messages"))
    elif path == "/v1/completions":
        prompt = body.get("prompt")
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            prompt = prompt[0]  # of several prompts the first decides
        if prompt:
            yield _text(prompt)
    elif path == "/v1/responses":
        if instructions := body.get("instructions"):
            yield _text(instructions)
        given = body.get("input")
        yield from _messages([{"role": "user", "content": given}] if isinstance(given, str) else given)


def _messages(messages: object) -> Iterator[bytes]:
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            rest = {key: value for key, value in message.items() if key != "content"}
            # The text first: two questions about one document begin alike.
            yield _text(message.get("content")) + b"\0" + _json(rest)
        else:
            yield _text(message)


def _text(content: object) -> bytes:
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return b"".join(_text(part["text"]) if isinstance(part.get("text"), str) else _json(part) for part in content)
    return _json(content)


class Holders:
    """Who has seen which beginnings: the latest so many of them."""

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._holders: OrderedDict[int, dict[str, None]] = OrderedDict()  # of a hash, latest last

    def add(self, holder: str, hashes: Iterable[int]) -> None:
        for value in hashes:
            holders = self._holders.setdefault(value, {})
            holders.pop(holder, None)
            holders[holder] = None
            self._holders.move_to_end(value)
        while len(self._holders) > self._most:
            self._holders.popitem(last=False)

    def drop(self, holder: str) -> None:
        for value in [value for value, holders in self._holders.items() if holder in holders]:
            del self._holders[value][holder]
            if not self._holders[value]:
                del self._holders[value]

    def held(self, chain: Chain) -> dict[str, int]:
        """How many bytes of the prompt each has seen."""
        out: dict[str, int] = {}
        for length, value in reversed(chain):
            for holder in self._holders.get(value, ()):
                out.setdefault(holder, length)
        return out

    def latest(self, count: int) -> list[int]:
        """The hashes added last."""
        return list(self._holders)[-count:]
