#!/usr/bin/env python3
"""What a directory of conversations costs a server: `thinkey serve` with --cache-shared beside one without.

    bench/serve_shared.py MODEL [--program build/release/bin/thinkey] [--files 0 10 1000 10000] [--cache full ...]

Prints, as Markdown, the median time of a short request (a prompt of 4 tokens, an answer of one) by the number of files that lie in
the directory, with the time from the start to the first `GET /health`; then, by cache spec, the bytes of a conversation of
--tokens tokens and how much longer than usual a short request takes that comes as its answer ends, which is the time of writing.
The files are real ones up to their tokens, which differ; what follows, which only continuing one would read, is left out.
"""

import argparse
import http.client
import json
import pathlib
import random
import re
import signal
import statistics
import struct
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model")
parser.add_argument("--program", default="build/release/bin/thinkey")
parser.add_argument("--files", type=int, nargs="+", default=[0, 10, 1000, 10000])
parser.add_argument("--file-tokens", type=int, default=512, help="of the conversations that lie there")
parser.add_argument("--requests", type=int, default=200)
parser.add_argument("--cache", nargs="*", default=["full", "think:0.4", "kivi:4", "snapkv:25%+think:0.4"])
parser.add_argument("--tokens", type=int, default=2048, help="of the conversation that is written")
parser.add_argument("--rounds", type=int, default=5, help="conversations written, by spec")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--directory", help="where directories are made (the system's for temporary files)")
options = parser.parse_args()
chance = random.Random(1)


def tokens(count):
    return [chance.randrange(3, 90) for _ in range(count)]


class Served:
    def __init__(self, *more):
        start = time.perf_counter()
        command = [options.program, "serve", "-m", options.model, "--port", "0", "-t", str(options.threads), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.port = None
        for line in self.process.stdout:
            if "http://" in line:
                self.port = int(re.search(r":(\d+)", line.split("http://")[1])[1])
                break
        if self.port is None:
            raise SystemExit(f"no server: {' '.join(command)}")
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        self.get("/health")
        self.started = time.perf_counter() - start

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)

    def get(self, path, body=None):
        """Seconds and the answer."""
        start = time.perf_counter()
        self.connection.request("POST" if body else "GET", path, body and json.dumps(body), {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {data[:300]!r}")
        return time.perf_counter() - start, data

    def ask(self, prompt, **more):
        return self.get("/v1/completions", {"prompt": prompt, "max_tokens": 1, "temperature": 0, **more})[0]

    def usual(self):
        self.ask(tokens(4))
        return statistics.median(self.ask(tokens(4)) for _ in range(options.requests))


def real_file(directory):
    """A conversation's file, written by the server."""
    with Served("--cache-shared", "--cache-dir", str(directory)) as server:
        server.ask(tokens(options.file_tokens))
        server.ask(tokens(4))
    return next(directory.glob("*.conversation")).read_bytes()


def fill(directory, file, count):
    # Magic (8 bytes), version (4), fingerprint (8), length (8) and bytes of the attachment: two numbers of 4, the spec asked for, tokens.
    head, length = file[:28], struct.unpack("<Q", file[20:28])[0]
    spec = file[28 : 36 + struct.unpack("<I", file[32:36])[0]]
    rest = file[28 + length :][:64]
    for i in range(count):
        content = spec + struct.pack(f"<{options.file_tokens - 1}i", *tokens(options.file_tokens - 1))
        content = content[:length].ljust(length, b"\0")
        (directory / f"{i:032x}.conversation").write_bytes(head + content + rest)


def main():
    parent = options.directory and pathlib.Path(options.directory)
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        file = real_file(pathlib.Path(scratch))
    print("| | short request, ms | start, s |\n| --- | ---: | ---: |")
    with Served() as server:
        print(f"| without `--cache-dir` | {1000 * server.usual():.2f} | {server.started:.2f} |", flush=True)
    for count in options.files:
        with tempfile.TemporaryDirectory(dir=parent) as directory:
            fill(pathlib.Path(directory), file, count)
            with Served("--cache-shared", "--cache-dir", directory) as server:
                print(f"| {count} files | {1000 * server.usual():.2f} | {server.started:.2f} |", flush=True)
    print(f"\n| {options.tokens} tokens under | MiB | written in, ms |\n| --- | ---: | ---: |")
    for spec in options.cache:
        with tempfile.TemporaryDirectory(dir=parent) as directory:
            with Served("--cache-shared", "--cache-dir", directory) as server:
                usual, late = server.usual(), []
                for _ in range(options.rounds):
                    server.ask(tokens(options.tokens), cache=spec)
                    late.append(server.ask(tokens(4)))
                size = max(path.stat().st_size for path in pathlib.Path(directory).glob("*.conversation"))
            print(f"| `{spec}` | {size / 2**20:.1f} | {1000 * (statistics.median(late) - usual):.1f} |", flush=True)


main()
