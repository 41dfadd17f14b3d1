"""thinkey.ray on a cluster of several nodes on this machine: answers, routing, and replicas that die at work.

Skipped where Ray is not installed (./dev python --ray installs it).
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.serve")

# A busy machine is no broken one.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}.items():
    os.environ.setdefault(_name, _value)

import ray
from ray import serve
from ray.cluster_utils import Cluster

import thinkey
import thinkey.ray

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "models" / "thinkey-needle.gguf"
REPLICAS = 3
PATIENCE = 240  # seconds


def wait_for(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"{what} takes more than {PATIENCE} s"
        time.sleep(0.2)


@dataclass
class Service:
    port: int
    directory: Path

    def send(
        self, path: str, body: dict[str, Any] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data, {"Content-Type": "application/json"})
        return connection, connection.getresponse()

    def post(self, path: str, body: dict[str, Any] | None, status: int = 200) -> SimpleNamespace:
        """The answer's JSON and headers."""
        connection, response = self.send(path, body)
        data = response.read()
        connection.close()
        assert response.status == status, f"{path}: {response.status} {data[:500]!r}"
        return SimpleNamespace(json=json.loads(data), replica=response.headers.get("x-thinkey-replica"))

    def complete(self, prompt: str, tokens: int, **more: Any) -> SimpleNamespace:
        """A greedy answer: text, cached tokens and replica."""
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}
        answer = self.post("/v1/completions", body)
        usage = answer.json["usage"]
        return SimpleNamespace(
            text=answer.json["choices"][0]["text"],
            cached=usage["prompt_tokens_details"]["cached_tokens"],
            replica=answer.replica,
        )

    def servers(self) -> list[int]:
        """Process ids of the replicas' servers: they name this test's folder."""
        return [pid for pid, words in _processes() if "serve" in words and str(self.directory) in words]


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if state not in "ZX" and words[0].endswith("/bin/thinkey"):
                yield int(entry.name), words


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    memory = 100 << 20
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": memory}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(REPLICAS - 1):
        cluster.add_node(num_cpus=1, object_store_memory=memory)
    ray.init(address=cluster.address, log_to_driver=False)
    # A long name, so that no path of the tests' begins with it.
    directory = tmp_path_factory.mktemp("conversations")
    serve.start(proxy_location="HeadOnly", http_options={"port": port})
    arguments = thinkey.ray.Arguments(
        model=str(MODEL), replicas=REPLICAS, options={"kv-memory": "256MiB", "cache-dir": str(directory)}
    )
    serve.run(thinkey.ray.app(arguments), name="thinkey", route_prefix="/")
    yield Service(port, directory)
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


def document(number: int) -> str:
    return " ".join(f"The passkey for island {number} of {i} is {7919 * (i + number) % 100000}." for i in range(60))


def test_answers_are_the_engines(service: Service, model: thinkey.Model) -> None:
    assert len(service.servers()) == REPLICAS
    prompt = document(1)
    text = service.complete(prompt, 20).text
    session = thinkey.Session(model)
    expected = thinkey.generate(session, model.tokenize(prompt), max_tokens=20, temperature=0)
    assert text.startswith(expected.text), "the engine stops at an end token, this answer goes on"
    body = {"prompt": prompt, "max_tokens": 20, "temperature": 0, "ignore_eos": True, "stream": True}
    connection, response = service.send("/v1/completions", body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert stream_text(response.read()) == text
    connection.close()


def test_what_is_refused_is_refused_by_name(service: Service) -> None:
    error = service.post("/v1/completions", {"prompt": "a", "no_such": 1}, 400).json["error"]
    assert error["param"] == "no_such"
    assert "each server's own" in service.post("/slots", None, 404).json["error"]["message"]
    assert service.post("/v1/models", None).json["data"]
    assert service.post("/health", None).json == {"status": "ok"}


def test_questions_go_where_their_document_is(service: Service) -> None:
    replicas = set()
    for number in range(10, 16):
        first = service.complete(document(number) + " First?", 4)
        replicas.add(first.replica)
        for question in ("Second?", "Third?"):
            again = service.complete(document(number) + " " + question, 4)
            assert again.replica == first.replica and again.cached > 500
    assert len(replicas) > 1, "documents that have nothing in common are spread"


def stream_text(data: bytes) -> str:
    """Of a whole stream of completions, which must be one answer's and end well."""
    events = [event.removeprefix(b"data: ") for event in data.split(b"\n\n") if event]
    assert events.pop() == b"[DONE]"
    objects = [json.loads(event) for event in events]
    assert all("error" not in each for each in objects), objects[-1]
    assert len({each["id"] for each in objects}) == 1
    return "".join(each["choices"][0]["text"] for each in objects if each["choices"])


@pytest.mark.parametrize("victim", ["server", "replica"])
def test_nothing_accepted_is_lost(service: Service, victim: str) -> None:
    """Three streams are under way and six answers wait when a replica is killed; what is killed is at work, since all
    servers are held still meanwhile."""
    first = 20 if victim == "server" else 40
    prompts = [document(number) for number in range(first, first + 9)]
    tokens = 1500
    body = {"max_tokens": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    streams = []
    for prompt in prompts[:3]:
        connection, response = service.send("/v1/completions", {**body, "prompt": prompt, "stream": True})
        assert response.status == 200
        streams.append((connection, response, response.read1()))
    servers = service.servers()
    assert len(servers) == REPLICAS
    signal_all(servers, signal.SIGSTOP)
    assert {response.headers["x-thinkey-replica"] for _, response, _ in streams} != {None}
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(service.complete, prompt, 30, cache_prompt=False) for prompt in prompts[3:]]
        time.sleep(2)
        assert not any(each.done() for each in waiting)
        dead = servers[0]
        os.kill(dead if victim == "server" else parent(dead), signal.SIGKILL)
        signal_all(servers[1:], signal.SIGCONT)
        texts = [stream_text(begun + response.read()) for _, response, begun in streams]
        answers = [each.result() for each in waiting]
    for connection, _, _ in streams:
        connection.close()
    wait_for("the end of the dead replica's server", lambda: dead not in service.servers())
    wait_for("a new replica", lambda: len(service.servers()) == REPLICAS)
    for prompt, text in zip(prompts[:3], texts, strict=True):
        assert text == service.complete(prompt, tokens, cache_prompt=False).text
    for prompt, answer in zip(prompts[3:], answers, strict=True):
        assert answer.text == service.complete(prompt, 30, cache_prompt=False).text


def test_conversations_outlive_their_replica(service: Service) -> None:
    messages = [{"role": "user", "content": document(60)}]
    chat = {"max_tokens": 8, "temperature": 0, "ignore_eos": True, "chat_template_kwargs": {}}
    first = service.post("/v1/chat/completions", {**chat, "messages": messages})
    messages.append(first.json["choices"][0]["message"])
    messages.append({"role": "user", "content": "And then?"})
    before = service.servers()
    signal_all(before, signal.SIGKILL)  # all of them: nobody has it in memory
    wait_for("new replicas", lambda: len(set(service.servers()) - set(before)) == REPLICAS)
    second = service.post("/v1/chat/completions", {**chat, "messages": messages})
    assert second.replica != first.replica
    usage = second.json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0.9 * usage["prompt_tokens"]


def test_replicas_follow_the_memory_that_caches_need() -> None:
    """The policy by itself, and what it is told."""
    policy = thinkey.ray.KvPolicy(target=0.5)
    context = SimpleNamespace(aggregated_metrics={"kv_demand": {"a": 0.9, "b": 0.8}}, target_num_replicas=2)
    assert policy(context)[0] == pytest.approx(3.4)
    context.aggregated_metrics = {"kv_demand": {"a": 0.0, "b": 0.1}}
    assert policy(context)[0] == 1
    context.aggregated_metrics = {}
    assert policy(context)[0] == 2, "nobody has reported: nothing changes"

    def demand(running: int, queued: int, taken: int) -> float:
        metrics = {"requests_running": running, "requests_prefilling": 0, "requests_queued": queued}
        return thinkey.ray.demand({**metrics, "kv_bytes_running": taken, "kv_bytes_bound": 100})

    assert demand(0, 0, 0) == 0
    assert demand(2, 0, 50) == 0.5
    assert demand(2, 2, 80) == 1.6
    assert demand(0, 3, 0) == 1


def test_a_replica_is_added_and_taken_away(service: Service) -> None:
    """Under a prefix of its own, with memory for two of eight requests at once."""
    serve.delete("thinkey")
    wait_for("the end of the other application", lambda: not service.servers())
    arguments = thinkey.ray.Arguments(
        model=str(MODEL),
        max_replicas=2,
        upscale_delay_s=1,
        downscale_delay_s=5,
        options={"kv-memory": "16MiB", "cache-dir": str(service.directory)},
    )
    serve.run(thinkey.ray.app(arguments), name="scaled", route_prefix="/many")
    assert len(service.servers()) == 1
    assert service.post("/many/health", None).json == {"status": "ok"}
    busy = True

    def client(number: int) -> None:
        while busy:
            body = {"prompt": document(number), "max_tokens": 2000, "ignore_eos": True, "cache_prompt": False}
            service.post("/many/v1/completions", body)

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, 70 + number) for number in range(8)]
        try:
            wait_for("a second replica", lambda: len(service.servers()) == 2 or any(c.done() for c in clients))
        finally:
            busy = False
        for each in clients:
            each.result()
    wait_for("one replica again", lambda: len(service.servers()) == 1)


def test_the_config_file_is_an_application(service: Service) -> None:
    """examples/ray_serve.yaml, with this model instead of its own."""
    from ray.serve.schema import ServeDeploySchema

    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / "examples" / "ray_serve.yaml").read_text())
    ServeDeploySchema.model_validate(config)
    (application,) = config["applications"]
    assert application["import_path"] == "thinkey.ray:app"
    thinkey.ray.app(thinkey.ray.Arguments(**{**application["args"], "model": str(MODEL)}))
    with pytest.raises(ValueError, match="no_such"):
        thinkey.ray.Arguments(model="m", no_such=1)
    with pytest.raises(thinkey.Error, match="port"):
        thinkey.ray.app(thinkey.ray.Arguments(model="m", options={"port": 80}))
