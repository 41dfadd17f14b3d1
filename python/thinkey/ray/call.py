"""What ingress and replicas say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from thinkey.ray.prefix import Chain


@dataclass(frozen=True)
class Call:
    """A request, on its way to a replica."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes
    chain: Chain = field(default_factory=list)
    avoid: frozenset[str] = frozenset()  # replicas that refused it


@dataclass(frozen=True)
class Head:
    """The first thing that a replica answers; bytes of the body follow."""

    replica: str
    status: int
    headers: dict[str, str]


class ServerLost(Exception):
    """A replica's server ended in the middle of an answer."""
