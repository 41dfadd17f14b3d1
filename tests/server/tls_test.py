#!/usr/bin/env python3
"""The server over HTTPS: clients that check its certificate, and some that do not speak TLS, or stop to.

usage: tls_test.py THINKEY MODEL WORK_DIRECTORY
"""
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

from serving import SKIPPED, Server, run

program, model = sys.argv[1], sys.argv[2]
FILES = Path(__file__).resolve().parent / "tls"
CERTIFICATE, KEY = FILES / "certificate.pem", FILES / "key.pem"


def refused(*options):
    ended = subprocess.run([program, "serve", "-m", model, "--port", "0", *map(str, options)], capture_output=True, text=True)
    return ended.returncode, ended.stderr


code, words = refused("--ssl-cert-file", CERTIFICATE, "--ssl-key-file", FILES / "none.pem")
if "without OpenSSL" in words:
    print("skipped: this program was built without OpenSSL")
    sys.exit(SKIPPED)

server = Server(program, model, "--kv-memory", "64MiB", "--ssl-cert-file", CERTIFICATE, "--ssl-key-file", KEY,
                "--timeout", "3", "--connections", "8")
trusting = ssl.create_default_context(cafile=CERTIFICATE)
BODY = {"prompt": "hello", "max_tokens": 8, "temperature": 0, "ignore_eos": True}


def client():
    return http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=trusting)


def ask(connection, method, path, body=None):
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def metric(name):
    text = ask(client(), "GET", "/metrics")[1].decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"thinkey_{name} ")))


def many_requests_on_one_connection_get_what_plain_http_gives():
    with Server(program, model, "--kv-memory", "64MiB") as plain:
        want = plain.post("/v1/completions", BODY)["choices"][0]["text"]
    connection = client()
    for _ in range(5):
        status, body = ask(connection, "POST", "/v1/completions", BODY)
        assert status == 200 and json.loads(body)["choices"][0]["text"] == want, body
    assert ask(connection, "GET", "/health")[0] == 200


def long_bodies_and_long_answers():
    text = "needle " * 60000  # several records
    status, body = ask(client(), "POST", "/tokenize", {"content": text})
    assert status == 200, body
    tokens = json.loads(body)["tokens"]
    status, body = ask(client(), "POST", "/detokenize", {"tokens": tokens})
    assert status == 200 and len(json.loads(body)["content"]) >= len(text) - 1


def streams_end():
    connection = client()
    status, body = ask(connection, "POST", "/v1/completions", {**BODY, "stream": True})
    assert status == 200 and body.decode().rstrip().endswith("data: [DONE]"), body


def a_request_may_be_sent_before_the_answer_to_the_last():
    s = trusting.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=10), server_hostname="127.0.0.1")
    body = json.dumps({**BODY, "max_tokens": 300, "stream": True}).encode()
    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n" % len(body) + body)
    s.recv(100)  # the answer is under way
    s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    out = b""
    start = time.monotonic()
    while chunk := s.recv(65536):
        out += chunk
    assert out.count(b"HTTP/1.1 200") == 1 and b"[DONE]" in out and out.rstrip().endswith(b"}"), out[-300:]
    assert time.monotonic() - start < 8, "it waited for more bytes"


def who_leaves_stops_the_answer():
    for polite in (True, False):  # with TLS's own words for it, or by closing the connection
        before = metric("requests_cancelled_total")
        s = trusting.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="127.0.0.1")
        body = json.dumps({**BODY, "max_tokens": 3000, "stream": True}).encode()
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert s.recv(100)
        if polite:
            try:
                s.settimeout(2)
                s = s.unwrap()
            except (OSError, ssl.SSLError):
                pass
        s.close()
        deadline = time.monotonic() + 20
        while metric("requests_cancelled_total") == before:
            assert time.monotonic() < deadline, "the answer went on"
            time.sleep(0.05)


def words_that_are_not_tls_harm_nobody():
    for data in (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 300, b"\x16"):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        s.sendall(data)
        if len(data) > 1:
            answer = b""
            try:
                answer = s.recv(1000)
            except ConnectionResetError:
                pass
            assert not answer.startswith(b"HTTP"), answer
        assert ask(client(), "GET", "/health")[0] == 200  # also while a handshake stands still
        s.close()


def a_certificate_that_nobody_knows_is_not_trusted():
    try:
        ask(http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl.create_default_context()), "GET", "/health")
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("the client trusted it")


def files_that_cannot_be_used_are_refused_by_name():
    assert (code, words.count("\n")) == (1, 1) and "none.pem" in words, words
    for options, status, word in (
            (("--ssl-cert-file", KEY, "--ssl-key-file", KEY), 1, "key.pem: no certificate"),
            (("--ssl-cert-file", CERTIFICATE, "--ssl-key-file", FILES / "other_key.pem"), 1, "other_key.pem"),
            (("--ssl-cert-file", CERTIFICATE), 2, "--ssl-key-file")):
        got, said = refused(*options)
        assert got == status and word in said and said.count("\n") == 1, (options, got, said)


run([many_requests_on_one_connection_get_what_plain_http_gives, long_bodies_and_long_answers, streams_end,
     a_request_may_be_sent_before_the_answer_to_the_last, who_leaves_stops_the_answer, words_that_are_not_tls_harm_nobody, a_certificate_that_nobody_knows_is_not_trusted,
     files_that_cannot_be_used_are_refused_by_name])
