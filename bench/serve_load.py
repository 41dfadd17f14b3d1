#!/usr/bin/env python3
"""Load on `thinkey serve` and on peers that speak OpenAI's API, by turns, on one model file and machine.

  bench/serve_load.py -m model.gguf
  bench/serve_load.py -m model.gguf --peer 'llama=llama-server -m {model} --port {port} -c {total} -np {parallel} -t 2'

In a command, {context} is what one conversation needs and {total} what all of them do (llama-server shares its -c out among
slots); {parallel} is the largest number of clients. Answers are greedy and go on past end tokens, so all have --tokens tokens.

For every number of clients and prompt length: requests/s, output tokens/s, time to the first token and time between
tokens (50th and 99th percentile). `--shared` puts a common document in front of all prompts; `--rate` sends requests
at that rate whether or not earlier ones are answered (open loop). Servers take turns, `--rounds` times, so that what
else the machine does hits all alike; the median round is shown.

`--intruder` measures instead how a long prompt that arrives delays an answer under way: time between its tokens before and after,
and while the prompt is read.
"""
import argparse
import http.client
import json
import queue
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

WORDS = ("time year people way day man thing woman life child world school state family student group country problem hand part "
         "place case week company system program question work government number night point home water room mother area money").split()

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("-m", "--model", required=True)
parser.add_argument("--program", default="build/release/bin/thinkey")
parser.add_argument("--cache", action="append", default=[], help="cache specs of ours to compare (full)")
parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
parser.add_argument("--prompts", type=int, nargs="+", default=[512, 2048, 8192], help="words, of about a token each")
parser.add_argument("--tokens", type=int, default=64, help="of an answer")
parser.add_argument("--context", type=int, default=0, help="tokens of a conversation (a quarter more than the longest prompt's words, and the answer)")
parser.add_argument("--intruder", type=int, default=0, metavar="WORDS", help="a prompt of so many words beside a running answer")
parser.add_argument("--requests", type=int, default=2, help="per client and round")
parser.add_argument("--shared", action="store_true", help="prompts are a common document and a question of 16 words each")
parser.add_argument("--rate", type=float, default=0, help="requests/s, open loop; 0: a client sends when it has its answer")
parser.add_argument("--rounds", type=int, default=1)
parser.add_argument("--kv-memory", default="4GiB")
parser.add_argument("--threads", type=int, default=0)
parser.add_argument("--json", action="store_true")
options = parser.parse_args()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Served:
    """A server under test, started and stopped for each turn."""

    def __init__(self, name, command):
        self.name, self.command = name, command

    def __enter__(self):
        self.port = free_port()
        longest = options.intruder or max(options.prompts)
        context = options.context or longest * 5 // 4 + options.tokens + 64
        parallel = 2 if options.intruder else max(options.clients)
        fill = {"model": options.model, "port": self.port, "context": context, "parallel": parallel, "total": context * parallel}
        self.process = subprocess.Popen(shlex.split(self.command.format(**fill)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 300
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit(f"{self.name} did not start: {self.command}")
            time.sleep(0.2)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def text(seed, words):
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(words))


def send(port, prompt, tokens):
    body = json.dumps({"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True, "ignore_eos": True,
                       "stream_options": {"include_usage": True}})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def one(port, prompt, out):
    start = time.monotonic()
    _, response = send(port, prompt, options.tokens)
    if response.status != 200:
        out.put({"status": response.status, "text": response.read()[:300].decode(errors="replace")})
        return
    times, usage = [], {}
    for line in response:
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            if event.get("choices") and event["choices"][0].get("text"):
                times.append(time.monotonic())
    out.put({"status": 200, "first": times[0] - start if times else None, "gaps": [b - a for a, b in zip(times, times[1:])],
             "tokens": usage.get("completion_tokens", len(times)), "prompt": usage.get("prompt_tokens", 0),
             "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)})


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values)))] if values else float("nan")


def kept(port):
    """Conversations that a server of ours holds in memory afterwards."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode(errors="replace").splitlines():
        if line.startswith("thinkey_conversations "):
            return int(float(line.split()[1]))
    return None


def turn(server, clients, words, salt):
    out = queue.Queue()
    document = text(1, words - 16) if options.shared else None
    count = clients * options.requests

    def prompt(i):
        return f"{document} {text((salt, i).__hash__(), 16)}" if options.shared else text((salt, i).__hash__(), words)
    if options.shared:  # read once before
        one(server.port, prompt(10**6), queue.Queue())
    start = time.monotonic()
    if options.rate:
        threads = []
        for i in range(count):
            threads.append(threading.Thread(target=one, args=(server.port, prompt(i), out)))
            threads[-1].start()
            time.sleep(random.Random(i).expovariate(options.rate))
    else:
        def client(number):
            for i in range(options.requests):
                one(server.port, prompt(number * options.requests + i), out)
        threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
        [t.start() for t in threads]
    [t.join() for t in threads]
    seconds = time.monotonic() - start
    results = [out.get() for _ in range(out.qsize())]
    good = [r for r in results if r["status"] == 200]
    if any(r["tokens"] != options.tokens for r in good):
        sys.exit(f"{server.name}: answers are not of {options.tokens} tokens: {sorted({r['tokens'] for r in good})}")
    gaps = [g for r in good for g in r["gaps"]]
    first = [r["first"] for r in good if r["first"] is not None]
    return {"answered": len(good), "refused": len(results) - len(good), "seconds": seconds, "requests_s": len(good) / seconds,
            "tokens_s": sum(r["tokens"] for r in good) / seconds, "first_50": percentile(first, 0.5), "first_99": percentile(first, 0.99),
            "gap_50": percentile(gaps, 0.5), "gap_99": percentile(gaps, 0.99), "kept": kept(server.port), "prompt_tokens": sum(r["prompt"] for r in good), "cached": sum(r["cached"] for r in good)}


def beside(server):
    """Times between an answer's tokens: without a long prompt, and from its arrival to its first token."""
    connection, response = send(server.port, text(1, 16), 10**6 if options.context == 0 else options.context - 64)
    times, arrived, read = [], None, []

    def intrude():
        one(server.port, text(2, options.intruder), read_times)
        read.append(time.monotonic())
    read_times = queue.Queue()
    thread = threading.Thread(target=intrude)
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        times.append(time.monotonic())
        if len(times) == 100:
            arrived = times[-1]
            thread.start()
        if read and times[-1] > read[0] and sum(t > read[0] for t in times[-150:]) > 100:
            break
    connection.close()
    thread.join()
    result = read_times.get()
    if result["status"] != 200:
        sys.exit(f"{server.name}: {result}")
    until = arrived + result["first"]
    # The machine itself changes its speed: what is usual is seen on both sides.
    alone = [b - a for a, b in zip(times, times[1:]) if b <= arrived or a >= read[0]]
    during = [b - a for a, b in zip(times[99:], times[100:]) if a < until]
    return {"alone_50": percentile(alone, 0.5), "during_50": percentile(during, 0.5), "during_99": percentile(during, 0.99),
            "longest": max(during, default=float("nan")), "tokens": len(during), "prompt": result["prompt"], "first": result["first"]}


threads = f" -t {options.threads}" if options.threads else ""
servers = [Served(f"thinkey {spec}", f"{options.program} serve -m {{model}} --port {{port}} -c {{context}} --parallel {{parallel}} --queue 1000 "
                  f"--kv-memory {options.kv_memory} --cache {spec}{threads}") for spec in options.cache or ["full"]]
for peer in options.peer:
    name, command = peer.split("=", 1)
    servers.append(Served(name, command))
if options.intruder:
    for server in servers:
        for _ in range(options.rounds):
            with server:
                r = beside(server)
            print(f"{server.name:24} prompt of {r['prompt']} tokens read in {r['first']:.1f} s; between tokens alone {1e3 * r['alone_50']:.1f} ms, "
                  f"meanwhile 50/99 % {1e3 * r['during_50']:.1f} /{1e3 * r['during_99']:.1f} ms ({r['during_99'] / r['alone_50']:.1f} times), "
                  f"longest {1e3 * r['longest']:.1f} ms, {r['tokens']} tokens", flush=True)
    sys.exit()
rows = {}
for words in options.prompts:
    for clients in options.clients:
        for round_ in range(options.rounds):
            for server in servers:
                with server:
                    rows.setdefault((words, clients, server.name), []).append(turn(server, clients, words, (words, clients, round_)))
                    print(f"{words} words, {clients} clients, {server.name}: {rows[words, clients, server.name][-1]}", file=sys.stderr, flush=True)
if options.json:
    print(json.dumps([{"prompt": w, "clients": c, "server": n, "rounds": r} for (w, c, n), r in rows.items()], indent=1))
else:
    print(f"{'prompt':>6} {'clients':>7} {'server':24} {'req/s':>7} {'tok/s':>7} {'first 50/99 %':>16} {'between 50/99 %':>18} {'cached':>7} {'refused':>7}")
    for (words, clients, name), rounds in rows.items():
        r = sorted(rounds, key=lambda x: x["tokens_s"])[len(rounds) // 2]
        print(f"{words:6} {clients:7} {name:24} {r['requests_s']:7.3f} {r['tokens_s']:7.1f} {r['first_50']:7.2f} /{r['first_99']:6.2f} s "
              f"{1e3 * r['gap_50']:7.1f} /{1e3 * r['gap_99']:7.1f} ms {r['cached']:7} {r['refused']:7}")
