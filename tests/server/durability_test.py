#!/usr/bin/env python3
"""Conversations outlive the server: put away for want of memory, at the end, and through kill -9 at any moment.

usage: durability_test.py THINKEY MODEL WORK_DIRECTORY
"""
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from serving import Server, run

program, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)


def ask(server, prompt, tokens=4, **more):
    return server.post("/v1/completions", {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more})


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def a_restart_forgets_nothing():
    directory = work / "restart"
    prompt = "The report says: " + "all is well, " * 100
    with Server(program, model, "--cache-dir", directory) as server:
        first = ask(server, prompt)
        assert cached(first) == 0
    with Server(program, model, "--cache-dir", directory) as server:
        second = ask(server, prompt + first["choices"][0]["text"] + " Who says so?")
        assert cached(second) >= first["usage"]["prompt_tokens"], second["usage"]
        assert server.metric("conversations_restored_total") == 1


def kill_leaves_whole_files():
    directory = work / "kill"
    chance = random.Random(3)
    prompts = [f"Document {i}. " + f"fact {i}, " * (80 + 5 * i) for i in range(12)]
    known = {}
    for round_ in range(6):
        # Room for two or three: the rest is put away all the time.
        server = Server(program, model, "--cache-dir", directory, "--kv-memory", "4MiB", "--parallel", "2")

        def client():
            while True:
                i = chance.randrange(len(prompts))
                try:
                    answer = ask(server, prompts[i])
                except Exception:  # noqa: BLE001 - it was killed
                    return
                assert known.setdefault(i, answer["choices"][0]["text"]) is not None
        threads = [threading.Thread(target=client) for _ in range(3)]
        [t.start() for t in threads]
        time.sleep(1 + chance.random())
        server.end(signal.SIGKILL)
        [t.join() for t in threads]
    with Server(program, model, "--cache-dir", directory, "--kv-memory", "4MiB") as server:
        hits = 0
        for i, prompt in enumerate(prompts):
            answer = ask(server, prompt + known.get(i, "") + " More.")
            hits += cached(answer) > 0
        assert hits >= 6, f"{hits} of {len(prompts)} were found again"
        assert server.metric("kv_bytes_peak") <= server.metric("kv_bytes_bound")
    left = [f for f in directory.rglob("*") if f.is_file() and f.suffix != ".conversation"]
    print(f"         {hits} of {len(prompts)} found again; {len(left)} unfinished files")


def the_directory_has_a_bound():
    directory = work / "bound"
    with Server(program, model, "--cache-dir", directory, "--kv-memory", "4MiB", "--cache-disk", "6MiB") as server:
        for i in range(12):
            ask(server, f"Text {i}. " + f"word {i} " * 150)
    assert sum(f.stat().st_size for f in directory.glob("*.conversation")) <= 6 << 20


def slots_by_name():
    with Server(program, model, "--cache-dir", work / "slots") as server:
        prompt = "A long text about everything. " * 30
        ask(server, prompt)
        slot = server.get("/slots")[0]
        saved = server.post(f"/slots/{slot['id']}?action=save", {"filename": "mine"})
        assert saved["tokens"] == slot["tokens"]
        server.post(f"/slots/{slot['id']}?action=erase", {})
        assert server.get("/slots") == []
        server.refused("/slots/0?action=restore", {"filename": "../mine"}, None)
        server.refused("/slots/0?action=restore", {"filename": "nobody"}, None)
        server.refused("/slots/0?action=fly", {}, "action")
        server.post("/slots/0?action=restore", {"filename": "mine"})
        assert cached(ask(server, prompt + "What?")) > 100


run([a_restart_forgets_nothing, kill_leaves_whole_files, the_directory_has_a_bound, slots_by_name])
