#!/usr/bin/env python3
"""Thousands of requests against `thinkey serve`, a third of them given up at a random moment, with memory for a
tenth of what all clients' conversations need, and a kill -9 in the middle.

Fails unless every request that was taken and not given up is answered whole, the bound on caches is never passed,
and after everything is erased the caches' allocator counts 0 bytes.
"""
import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/server"))
from serving import Server  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--program", default="build/release/bin/thinkey")
parser.add_argument("--model", default="models/thinkey-needle.gguf")
parser.add_argument("--requests", type=int, default=10000)
parser.add_argument("--clients", type=int, default=24)
parser.add_argument("--longest", type=int, default=8000, help="prompt tokens")
parser.add_argument("--work", default="/tmp/thinkey-soak")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

work = Path(options.work)
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
SPECS = ["full", "think:0.5,form=paper", "kivi:4", "snapkv:256,window=32", "snapkv:256,window=32+think:0.4,form=paper", "streaming:512"]
context = min(8192, options.longest + 192)
full = json.loads(subprocess.run([options.program, "inspect", options.model, "-c", str(options.longest), "--json"],
                                 capture_output=True, text=True, check=True).stdout)
largest = max(c["bytes"] for c in full["caches"]) if "caches" in full else 2 * 1024 * options.longest
# All clients' longest conversations at once would need this much; there is a tenth of it, or the largest.
bound = max(options.clients * largest // 10, int(largest * 1.3) + (1 << 20))
lock = threading.Lock()
counts = {"answered": 0, "given up": 0, "refused": 0, "cut off": 0, "reused": 0}
problems = []
left = options.requests
restarting = threading.Event()
restarts = 0


def start():
    return Server(options.program, options.model, "--kv-memory", bound, "--ctx-size", context, "--parallel", 8, "--queue", 64,
                  "--cache-dir", work / "cache", "--cache-disk", "64MiB", "--drain", 5)


server = start()


def take():
    global left
    with lock:
        left -= 1
        return left >= 0


def note(what, n=1):
    with lock:
        counts[what] += n


def give_up(chance, body):
    """Sends a request and closes the connection at a random moment."""
    data = json.dumps({**body, "stream": chance.random() < 0.5}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=600) as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        s.settimeout(0.001 + chance.random() * 0.3)
        try:
            s.recv(1 + chance.randrange(2000))
        except TimeoutError:
            pass
    note("given up")


def client(number):
    chance = random.Random(options.seed * 1000 + number)
    kept = []
    while take():
        tokens = [chance.randrange(3, 4000) for _ in range(chance.choice([10, 100, 400, options.longest // 4, options.longest]))]
        length = chance.randrange(10, len(tokens) + 1)
        prompt = chance.choice(kept) + tokens[:20] if kept and chance.random() < 0.4 else tokens[:length]
        prompt = prompt[:options.longest]
        n = chance.randrange(1, 60)
        body = {"prompt": prompt, "max_tokens": n, "ignore_eos": True, "cache": chance.choice(SPECS), "seed": number, "logprobs": 0}
        before = restarts
        try:
            if chance.random() < 0.33:
                give_up(chance, body)
                continue
            for _ in range(200):
                status, headers, data = server.request("POST", "/v1/completions", body)
                if status != 429:
                    break
                note("refused")
                time.sleep(0.2 + chance.random())
            if status != 200:
                problems.append(f"{status}: {data}")
                continue
            got = len(data["choices"][0]["logprobs"]["tokens"])
            if got != n:
                problems.append(f"{got} tokens of {n}")
            if data["usage"]["prompt_tokens_details"]["cached_tokens"] > 0:
                note("reused")
            note("answered")
            kept.append(prompt)
            del kept[:-3]
        except Exception as error:  # noqa: BLE001
            if restarting.is_set() or restarts != before:
                note("cut off")  # by the kill
                while restarting.is_set():
                    time.sleep(0.1)
            else:
                problems.append(f"{type(error).__name__}: {error}")


threads = [threading.Thread(target=client, args=(i,)) for i in range(options.clients)]
start_time = time.monotonic()
[t.start() for t in threads]
peak = 0
while any(t.is_alive() for t in threads):
    time.sleep(0.2)
    if server.process.poll() is not None:
        sys.exit("the server died: " + "".join(server.lines))
    if left < options.requests // 2 and restarts == 0:
        restarting.set()
        peak = max(peak, server.metric("kv_bytes_peak"))
        server.end(signal.SIGKILL)
        server = start()
        restarts += 1
        restarting.clear()
    try:
        used, committed = server.metric("kv_bytes_used"), server.metric("kv_bytes_reserved")
        peak = max(peak, server.metric("kv_bytes_peak"))
        if max(used, committed, peak) > bound:
            problems.append(f"{used} bytes used, {committed} promised, {peak} at most: the bound is {bound}")
    except OSError as error:
        problems.append(f"metrics: {error}")
[t.join() for t in threads]
# A request that was given up may not even have been read yet: its connection is open until it is done with. The
# metrics' own connection is one.
until = time.monotonic() + 60
while (server.metric("http_connections") > 1 or
       server.metric("requests_running") + server.metric("requests_queued") + server.metric("requests_prefilling") > 0):
    if time.monotonic() > until:
        problems.append("requests are left")
        break
    time.sleep(0.1)
for slot in server.get("/slots"):
    server.post(f"/slots/{slot['id']}?action=erase", {})
server.get("/slots")
rest = server.metric("kv_bytes_used")
if rest != 0:
    problems.append(f"{rest} bytes are left when every conversation is erased")
restored = server.metric("conversations_restored_total")
evicted = server.metric("conversations_evicted_total")
if server.end() != 0:
    problems.append("the server did not end well")
print(f"{options.requests} requests in {time.monotonic() - start_time:.0f} s: {counts}; {evicted:.0f} conversations put away and "
      f"{restored:.0f} read back since the kill; at most {peak / 2**20:.2f} of {bound / 2**20:.2f} MiB")
for problem in problems[:20]:
    print("problem:", problem)
sys.exit(1 if problems else 0)
