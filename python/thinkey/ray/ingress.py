"""Where requests come in: OpenAI's API over the replicas."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from ray.exceptions import RayActorError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from thinkey.ray.call import Call, Head, ServerLost
from thinkey.ray.prefix import chain_of
from thinkey.ray.resume import Diverged, EventStream, Transcript

_log = logging.getLogger("ray.serve")

# A replica that dies: its actor with it, or its server a moment before.
LOST = (RayActorError, ServerLost)
# A request that three replicas did not survive is given up: it may be what kills them.
ATTEMPTS = 3
# Paths that are about one server.
OWN = ("/slots", "/metrics")
REPLICA = "x-thinkey-replica"  # a header of answers: which one began it
SEEDED = ("/v1/chat/completions", "/v1/completions")


class Ingress:
    """Passes requests on. One that a replica did not survive is sent to another: an answer that has not begun begins
    there, a stream goes on where it was."""

    def __init__(self, engines: Any, body_limit: int = 32 << 20, seeded: bool = False) -> None:
        """engines: the handle of the Engine deployment. seeded: the servers draw no seeds of their own."""
        self._engines = engines.options(stream=True, method_name="answer")
        self._body_limit = body_limit
        self._seeded = seeded

    async def __call__(self, request: Request) -> Response:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", "").rstrip("/"))
        if path.startswith(OWN):
            return _error(404, f"{path} is each server's own; here there are several. Ray's metrics have their sums")
        body = await _body(request, self._body_limit)
        if body is None:
            return _error(413, f"the body has more than {self._body_limit} bytes")
        query = request.scope.get("query_string", b"").decode("latin-1")
        headers = {key: value for key in ("content-type", "authorization") if (value := request.headers.get(key))}
        fields = _fields(body)
        if fields.get("stream") is True and "seed" not in fields and path in SEEDED and not self._seeded:
            # So that another replica would say the same.
            body = b'{"seed": %d, ' % random.getrandbits(31) + body.lstrip()[1:]
        call = Call(
            method=request.method,
            path=path + (f"?{query}" if query else ""),
            headers=headers,
            body=body,
            chain=chain_of(path, fields),
        )
        return await Answer(self._engines, call).response()


class Answer:
    """A request's answer, by whichever replicas it takes."""

    def __init__(self, engines: Any, call: Call) -> None:
        self._engines = engines
        self._call = call
        self._losses = 0
        self._stream: Any = None

    async def response(self) -> Response:
        while True:
            try:
                head = await self._begin()
                headers = {**head.headers, REPLICA: head.replica}
                if headers.get("content-type", "").startswith("text/event-stream"):
                    return StreamingResponse(self._events(), status_code=head.status, headers=headers)
                body = b"".join([data async for data in self._stream])
                return Response(body, status_code=head.status, headers=headers)
            except LOST as error:
                if not self._try_again(error):
                    return _error(502, f"{self._losses} replicas in turn ended while they answered this request")

    async def _begin(self) -> Head:
        """At a replica that takes the request, or the answer of the last that does not."""
        avoid = self._call.avoid
        while True:
            self._stream = self._engines.remote(replace(self._call, avoid=avoid))
            head: Head = await anext(self._stream)
            # Its queue is full, or it is ending: perhaps another's is not.
            if head.status not in (429, 503) or head.replica in avoid:
                return head
            self._stream.cancel()
            avoid |= {head.replica}

    def _try_again(self, error: Exception) -> bool:
        self._losses += 1
        _log.warning(f"a replica was lost ({self._losses} of {ATTEMPTS}): {error}")
        return self._losses < ATTEMPTS

    async def _events(self) -> AsyncIterator[bytes]:
        transcript = Transcript()
        finished = False
        try:
            while True:
                try:
                    events = EventStream()
                    async for data in self._stream:
                        for event in events.feed(data):
                            if (unsent := transcript.next(event)) is not None:
                                yield unsent
                    finished = True
                    return
                except LOST as error:
                    if not self._try_again(error):
                        finished = True
                        yield self._broken(f"{self._losses} replicas in turn ended while they answered this request")
                        return
                    transcript.replay()
                    head = await self._begin()
                    if head.status != 200:
                        finished = True
                        yield self._broken("the replica ended, and no other takes the request over")
                        return
        except Diverged:
            yield self._broken("the replica ended, and another continues the answer otherwise; ask again")
        finally:
            if not finished:
                self._stream.cancel()

    def _broken(self, message: str) -> bytes:
        error = _error_object(502, message)
        if self._call.path.startswith("/v1/responses"):
            named = {key: value for key, value in error.items() if key != "type"}
            return b"event: error\ndata: " + json.dumps({"type": "error", **named}).encode() + b"\n\n"
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\ndata: [DONE]\n\n"


async def _body(request: Request, limit: int) -> bytes | None:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > limit:
            return None
    return bytes(body)


def _fields(body: bytes) -> dict[str, Any]:
    """Of a JSON body; what is none is the server's to refuse."""
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    except RecursionError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _error_object(status: int, message: str) -> dict[str, Any]:
    kind = {404: "not_found_error", 413: "invalid_request_error"}.get(status, "server_error")
    return {"message": message, "type": kind, "param": None, "code": status}


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": _error_object(status, message)}, status_code=status)
