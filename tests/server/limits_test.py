#!/usr/bin/env python3
"""Clients that are slow, wrong, rude or gone.

usage: limits_test.py THINKEY MODEL WORK_DIRECTORY
"""
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from serving import Server, run

program, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
work.mkdir(parents=True, exist_ok=True)
server = Server(program, model, "--kv-memory", "64MiB", "--timeout", "3", "--body-limit", "1MiB", "--connections", "24",
                "--parallel", "2", "--queue", "3")
BODY = {"prompt": "hello", "max_tokens": 2}


def raw(data, wait=10, pieces=1, pause=0.0):
    """What comes back for these bytes on a connection of its own; None where nothing does in time."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as s:
        size = max(1, len(data) // pieces)
        try:
            for at in range(0, len(data), size):
                s.sendall(data[at:at + size])
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        out = b""
        try:
            while chunk := s.recv(65536):
                out += chunk
                if b"\r\n\r\n" in out:
                    head, rest = out.split(b"\r\n\r\n", 1)
                    length = re.search(rb"Content-Length: (\d+)", head)
                    if length and len(rest) >= int(length.group(1)):
                        break
        except ConnectionResetError:
            pass
        except TimeoutError:
            return out or None
        return out


def post(body, extra="", path="/v1/completions", length=None, kind="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{extra}"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n").encode() + body


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def bodies_in_any_shape():
    chunks = json.dumps(BODY).encode()
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(chunks[i:i + 7]), chunks[i:i + 7]) for i in range(0, len(chunks), 7)) + b"0\r\n\r\n"
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(raw(head + chunked)) == 200
    assert status(raw(post(BODY), pieces=30, pause=0.01)) == 200
    assert status(raw(post(b"{\"prompt\": \"\xff\xfe\"}"))) == 400
    assert status(raw(post(b"[" * 10000 + b"]" * 10000))) == 400
    assert status(raw(post(b"{\"a\":" * 10000))) == 400
    assert status(raw(post(b""))) == 400
    assert status(raw(post(b"null"))) == 400
    assert status(raw(post(BODY, kind="text/plain"))) == 415
    assert status(raw(post(BODY, kind="application/x-www-form-urlencoded"))) == 415
    assert status(raw(b"GET /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 405
    assert status(raw(b"DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 405
    assert status(raw(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 404
    assert status(raw(b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n")) in (400, 404)
    assert status(raw(b"nonsense\r\n\r\n")) == 400
    assert status(raw(b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n")) in (400, 414, None)
    assert status(raw(post(BODY, extra="X: y\r\n" * 20000))) in (400, None), "headers have a limit"


def large_bodies_are_refused():
    large = b"{\"prompt\": \"" + b"x" * (100 << 20) + b"\"}"
    assert status(raw(post(large), wait=30)) in (413, None)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status(raw(head + (b"%x\r\n" % (1 << 16) + b"x" * (1 << 16) + b"\r\n") * 100, wait=30)) in (400, 413, None)
    assert memory() < 1 << 30


def memory():
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) << 10


def slow_clients_hold_nobody():
    start = time.monotonic()
    slow = []
    for i in range(20):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: lo" if i % 2 else post(BODY, length=1000)[:-3])
        slow.append(s)
    assert status(raw(post(BODY))) == 200, "others are answered meanwhile"
    # A trickle does not put the deadline off.
    ended = 0
    while ended < len(slow) and time.monotonic() - start < 25:
        ended = 0
        for s in slow:
            try:
                s.sendall(b"x")
            except OSError:
                ended += 1
        time.sleep(0.25)
    assert ended == len(slow), f"{len(slow) - ended} slow connections are still there"
    for s in slow:
        s.close()


def a_machine_that_stood_still_is_not_the_clients_fault():
    """Longer than a body may take, with all of it there, in several buffers' worth, when the server goes on."""
    whole = post(b" " * 600000 + json.dumps(BODY).encode())
    with socket.create_connection(("127.0.0.1", server.port), timeout=600) as s:
        s.sendall(whole[:500])
        time.sleep(0.5)
        server.process.send_signal(signal.SIGSTOP)
        rest = threading.Thread(target=s.sendall, args=(whole[500:],))
        try:
            rest.start()
            time.sleep(5)
        finally:
            server.process.send_signal(signal.SIGCONT)
        rest.join()
        assert s.recv(100).startswith(b"HTTP/1.1 200")


def many_connections_are_turned_away():
    open_ = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    time.sleep(0.5)
    turned = 0
    for s in open_:
        s.setblocking(False)
        try:
            turned += b"503" in s.recv(1000)
        except BlockingIOError:
            pass
        except OSError:
            turned += 1
        s.close()
    assert turned >= 40 - 24, turned
    time.sleep(0.5)
    assert server.get("/health")["status"] == "ok"


def a_client_that_goes_away_stops_its_answer():
    endless = {"prompt": "hello", "max_tokens": 8000, "ignore_eos": True}
    for body in (endless, {**endless, "stream": True}):
        before = server.metric("requests_cancelled_total")
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(post(body))
        wait(lambda: server.metric("requests_running") == 1)
        s.close()
        wait(lambda: server.metric("requests_running") == 0)
        assert server.metric("requests_cancelled_total") == before + 1


def wait(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


def a_full_queue_is_429():
    endless = {"prompt": "hello", "max_tokens": 8000, "ignore_eos": True, "stream": True}
    held = []
    for i in range(5):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(post(endless))
        held.append(s)
        wait(lambda: server.metric("requests_running") + server.metric("requests_queued") + server.metric("requests_prefilling") >= i + 1)
    wait(lambda: server.metric("requests_queued") == 3)
    got, headers, data = server.request("POST", "/v1/completions", BODY)
    assert got == 429 and int(headers["Retry-After"]) >= 1, (got, data)
    assert data["error"]["code"] == "queue_full"
    for s in held:
        s.close()
    wait(lambda: server.metric("requests_running") == 0)


def what_never_fits_is_400_with_numbers():
    with Server(program, model, "--kv-memory", "1MiB") as small:
        error = small.post("/v1/completions", {"prompt": "word " * 3000, "max_tokens": 10}, 400)["error"]
        assert "MiB" in error["message"] and "1.0 MiB" in error["message"], error
        assert small.post("/v1/completions", BODY)["choices"]


def keys_are_asked_for():
    with Server(program, model, "--api-key", "sesame", "--api-key", "second") as locked:
        for headers, expected in (({}, 401), ({"Authorization": "Bearer sesam"}, 401), ({"Authorization": "Bearer sesamee"}, 401),
                                  ({"Authorization": "sesame"}, 401), ({"Authorization": "Bearer "}, 401),
                                  ({"Authorization": "Bearer sesame"}, 200), ({"X-Api-Key": "second"}, 200)):
            got, _, data = locked.request("GET", "/v1/models", headers=headers)
            assert got == expected, (headers, got)
        assert locked.request("GET", "/health")[0] == 200
        assert locked.request("GET", "/")[0] == 200
        assert locked.request("POST", "/tokenize", {"content": "x"})[0] == 401


def other_sites_names_are_refused():
    for host, expected in (("evil.example", 403), ("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200), ("localhost.evil.example", 403)):
        assert status(raw(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())) == expected, host


def sigterm_drains():
    with Server(program, model, "--drain", 300) as ending:
        out = {}

        def ask():
            out["answer"] = ending.request("POST", "/v1/completions", {"prompt": "hello", "max_tokens": 1500, "ignore_eos": True})
        thread = threading.Thread(target=ask)
        thread.start()
        wait(lambda: ending.metric("requests_running") == 1)
        assert ending.end() == 0
        thread.join()
        assert out["answer"][0] == 200 and out["answer"][2]["usage"]["completion_tokens"] == 1500
    with Server(program, model, "--drain", 300) as ending:
        out = {}
        thread = threading.Thread(target=lambda: out.update(events=ending.events("/v1/completions", {
            "prompt": "hello", "max_tokens": 1500, "ignore_eos": True, "stream_options": {"include_usage": True}})))
        thread.start()
        wait(lambda: ending.metric("requests_running") == 1)
        assert ending.end() == 0
        thread.join()
        assert out["events"][-1]["usage"]["completion_tokens"] == 1500, "streams are not broken off"
    with Server(program, model, "--drain", "0") as ending:
        held = socket.create_connection(("127.0.0.1", ending.port))
        held.sendall(post({"prompt": "hello", "max_tokens": 8000, "ignore_eos": True, "stream": True}))
        wait(lambda: ending.metric("requests_running") == 1)
        start = time.monotonic()
        ending.end()
        assert time.monotonic() - start < 10


def mistakes_on_the_command_line():
    taken = subprocess.run([program, "serve", "-m", model, "--port", str(server.port)], capture_output=True, text=True, timeout=60)
    assert taken.returncode == 1 and "cannot listen" in taken.stderr, taken
    for options, word in ((["--kv-memory", "much"], "--kv-memory"), (["--cache", "thin"], "thin"), (["--port", "70000"], "--port")):
        wrong = subprocess.run([program, "serve", "-m", model, *(options if "--port" in options else ["--port", "0", *options])],
                               capture_output=True, text=True, timeout=60)
        assert wrong.returncode == 2 and word in wrong.stderr and wrong.stderr.count("\n") == 1, wrong


run([bodies_in_any_shape, large_bodies_are_refused, slow_clients_hold_nobody, a_machine_that_stood_still_is_not_the_clients_fault,
     many_connections_are_turned_away, a_client_that_goes_away_stops_its_answer, a_full_queue_is_429,
     what_never_fits_is_400_with_numbers, keys_are_asked_for, other_sites_names_are_refused, sigterm_drains, mistakes_on_the_command_line])
