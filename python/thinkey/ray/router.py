"""Requests go where the least is left to compute: to the replica that holds their conversation or document, unless
others wait there."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from thinkey.ray.call import Call
from thinkey.ray.prefix import Holders


class PrefixRouter(RequestRouter):  # type: ignore[misc]
    """Chooses the replica with the smallest sum of the prompt's bytes that it has not seen and `request_bytes` for
    each request that it is at.

    What replicas have seen is what this router sent them and what they report of others' (Engine's
    record_routing_stats), so that several ingresses agree within a reporting period.
    """

    def initialize_state(self, request_bytes: int = 4096, **unknown: Any) -> None:
        if unknown:
            raise ValueError(f"PrefixRouter: unknown options {', '.join(sorted(unknown))}")
        self._request_bytes = request_bytes
        self._seen = Holders()
        self._reported: dict[str, object] = {}

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        call = next((a for a in pending_request.args if isinstance(a, Call)), None) if pending_request else None
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # when all of these are full
        if call is None:
            return [candidate_replicas]
        held = self._seen.held(call.chain)
        length = call.chain[-1][0] if call.chain else 0

        def cost(replica: RunningReplica) -> tuple[bool, int, int, bytes]:
            name = replica.replica_id.unique_id
            busy = self.replica_queue_len_cache.get(replica.replica_id) or 0
            unseen = length - held.get(name, 0)
            # Between equals the prompt's hash decides, so that several ingresses agree.
            tie = call.chain[0][1] if call.chain else 0
            return name in call.avoid, unseen + self._request_bytes * busy, busy, _shuffled(name, tie)

        return [[replica] for replica in sorted(candidate_replicas, key=cost)]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        for argument in pending_request.args:
            if isinstance(argument, Call):
                self._seen.add(replica_id.unique_id, (value for _, value in argument.chain))

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._forget(replica_id.unique_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        names = {replica.replica_id.unique_id for replica in replicas}
        for name in self._reported.keys() - names:
            self._forget(name)
        for replica in replicas:
            name = replica.replica_id.unique_id
            prefixes = (replica.routing_stats or {}).get("prefixes", [])
            if self._reported.get(name) != prefixes:
                self._seen.add(name, prefixes)
            self._reported[name] = prefixes

    def _forget(self, name: str) -> None:
        self._reported.pop(name, None)
        self._seen.drop(name)


def _shuffled(name: str, by: int) -> bytes:
    return blake2b(name.encode(), key=by.to_bytes(8, "little"), digest_size=8).digest()
