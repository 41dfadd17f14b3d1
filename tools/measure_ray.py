#!/usr/bin/env python3
"""What Ray Serve costs and gives: the same load on `thinkey serve` by itself and on thinkey.ray with 1 and 3 replicas.

    tools/measure_ray.py MODEL [--clients 6] [--requests 8] [--tokens 64] [--prompt 400] [--threads 1]

Prints, as Markdown, tokens of answers per second over all clients, the median time to a whole answer, and the median time of
`GET /health`, which computes nothing: what the way in and out costs. Streams and whole answers are measured apart. All replicas run
on this machine, on nodes of a cluster that exist in name only, and share its cores. Needs ray[serve] and the thinkey package.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")

import ray
from ray import serve
from ray.cluster_utils import Cluster

import thinkey.ray
from thinkey.__main__ import program


def ask(port, path, body=None):
    """Seconds, and the answer's bytes."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {data[:300]!r}")
    return time.perf_counter() - start, data


def load(port, options, stream):
    """(tokens/s, median seconds of an answer) under load; prompts share no beginning."""

    def client(number):
        times = []
        for i in range(options.requests):
            prompt = [3 + (number * 7919 + i * 104729 + j * j) % 90 for j in range(options.prompt)]
            body = {"prompt": prompt, "max_tokens": options.tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
            times.append(ask(port, "/v1/completions", {**body, "stream": stream})[0])
        return times

    start = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as pool:
        times = [t for each in pool.map(client, range(options.clients)) for t in each]
    return options.tokens * len(times) / (time.perf_counter() - start), statistics.median(times)


def row(name, port, options):
    load(port, argparse.Namespace(**{**vars(options), "requests": 1}), stream=True)
    health = statistics.median(ask(port, "/health")[0] for _ in range(50))
    whole, stream = load(port, options, False), load(port, options, True)
    print(
        f"| {name} | {whole[0]:.0f} | {1000 * whole[1]:.0f} | {stream[0]:.0f} | {1000 * stream[1]:.0f} | {1000 * health:.1f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for name, default in (("clients", 6), ("requests", 8), ("tokens", 64), ("prompt", 400), ("threads", 1), ("port", 8765)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    print("| | whole answers, tokens/s | ms | streams, tokens/s | ms | /health, ms |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    command = [program(), "serve", "-m", options.model, "--port", "0", "-t", str(options.threads), "--kv-memory", "1GiB"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    port = next(int(m.group(1)) for line in server.stderr if (m := re.search(r"http://\S+:(\d+)", line)))
    row("`thinkey serve`", port, options)
    server.send_signal(signal.SIGTERM)
    server.wait()

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"port": options.port})
    for replicas in (1, 3):
        arguments = thinkey.ray.Arguments(
            model=options.model, replicas=replicas, options={"kv-memory": "1GiB", "threads": options.threads}
        )
        serve.run(thinkey.ray.app(arguments), name="thinkey", route_prefix="/")
        row(f"thinkey.ray, {replicas} replica{'s' if replicas > 1 else ''}", options.port, options)
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
