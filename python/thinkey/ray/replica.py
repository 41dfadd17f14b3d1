"""A replica: a server of its own on a port of this machine only, and the calls that are passed on to it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from ray import serve
from ray.util.metrics import Gauge

from thinkey.ray.call import Call, Head, ServerLost
from thinkey.ray.prefix import Holders
from thinkey.ray.server import Options, Server

_log = logging.getLogger("ray.serve")

# How many of the latest hashes a replica tells the routers of.
REPORTED = 4096


# Seconds between two pieces of a stream: what comes meanwhile travels together. A piece costs the ingress the same,
# however many events it has.
PAUSE = 0.01


class Engine:
    """Holds one `thinkey serve`. Where the server dies, so does the replica: Ray then knows, and starts another."""

    def __init__(self, model: str, options: Options) -> None:
        self._server = Server(model, options, lost=_end_with)
        self._session: aiohttp.ClientSession | None = None
        self._seen = Holders(REPORTED)
        self._name: str = serve.get_replica_context().replica_id.unique_id
        self._gauges: dict[str, Gauge] = {
            name: Gauge(f"thinkey_{name}", description=f"thinkey serve's {name}", tag_keys=("replica",))
            for name in ("kv_bytes_bound", "kv_bytes_used", "kv_bytes_running", "requests_running", "requests_queued")
        }

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:  # here there is an event loop
            self._session = aiohttp.ClientSession(
                f"http://127.0.0.1:{self._server.port}",
                timeout=aiohttp.ClientTimeout(total=None),
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._session

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        plain = {**headers, "Accept-Encoding": "identity"}  # events are read on their way
        return {**plain, "Authorization": f"Bearer {self._server.key}"} if self._server.key else plain

    async def answer(self, call: Call) -> AsyncIterator[Head | bytes]:
        """The server's answer: a Head, then the body as it comes. Raises ServerLost."""
        self._seen.add(self._name, (value for _, value in call.chain))
        try:
            async with self._client().request(
                call.method, call.path, data=call.body or None, headers=self._headers(call.headers)
            ) as response:
                kept = ("content-type", "cache-control", "retry-after", "www-authenticate", "content-security-policy")
                headers = {key: value for key in kept if (value := response.headers.get(key)) is not None}
                events = response.content_type == "text/event-stream"
                yield Head(replica=self._name, status=response.status, headers=headers)
                async for data in response.content.iter_any():
                    yield data
                    if events and not response.content.at_eof():
                        await asyncio.sleep(PAUSE)
        except aiohttp.ClientError as error:
            raise ServerLost(f"replica {self._name}: {error}") from None

    async def metrics(self) -> dict[str, float]:
        """The server's plain metrics, without "thinkey_"."""
        async with self._client().get("/metrics", headers=self._headers({})) as response:
            text = await response.text()
        return {name: float(value) for name, value in re.findall(r"^thinkey_(\w+) ([-+.\w]+)$", text, re.M)}

    async def record_routing_stats(self) -> dict[str, Any]:
        """For the routers (Ray calls it): beginnings of prompts that were seen here."""
        return {"prefixes": self._seen.latest(REPORTED)}

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """For KvPolicy (Ray calls it): the share of the memory for caches that answers under way need."""
        metrics = await self.metrics()
        for name, gauge in self._gauges.items():
            gauge.set(metrics[name], tags={"replica": self._name})
        return {"kv_demand": demand(metrics)}

    async def server_pid(self) -> int:
        return self._server.pid

    async def check_health(self) -> None:
        async with self._client().get("/health") as response:
            response.raise_for_status()

    async def __del__(self) -> None:
        server = getattr(self, "_server", None)
        if server is None:
            return
        if self._session is not None:
            await self._session.close()
        await asyncio.to_thread(server.stop)


def demand(metrics: dict[str, float]) -> float:
    """Of the memory for caches, what answers under way hold or are promised. Requests that wait are taken to need as
    much as those under way do, or, where nothing is under way, all of it."""
    running, queued = metrics["requests_running"] + metrics["requests_prefilling"], metrics["requests_queued"]
    share = metrics["kv_bytes_running"] / metrics["kv_bytes_bound"]
    return share * (running + queued) / running if running else float(queued > 0)


def _end_with(message: str) -> None:
    _log.error(message)
    os._exit(1)
