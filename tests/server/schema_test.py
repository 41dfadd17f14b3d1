#!/usr/bin/env python3
"""schemathesis against /openapi.json: whatever is sent, the server has no error of its own.

usage: schema_test.py THINKEY MODEL WORK_DIRECTORY
"""
import os
import subprocess
import sys
from pathlib import Path

from serving import Server, run, with_clients

with_clients("schemathesis")
program, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
work.mkdir(parents=True, exist_ok=True)


def nothing_makes_it_fail():
    with Server(program, model, "--kv-memory", "64MiB", "-n", "16", "--cache-dir", work / "cache") as server:
        done = subprocess.run(
            [Path(sys.executable).parent / "schemathesis", "run", f"http://127.0.0.1:{server.port}/openapi.json", "--max-examples",
             os.environ.get("THINKEY_EXAMPLES", "15"), "--checks", "not_a_server_error,content_type_conformance,status_code_conformance",
             "--phases", "examples,fuzzing", "--request-timeout", "60", "--seed", "1", "--exclude-path-regex", "^/slots/"],
            capture_output=True, text=True, timeout=500, cwd=work)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
        print("        ", [line.strip() for line in done.stdout.splitlines() if "generated" in line])
        assert server.get("/health")["status"] == "ok"


run([nothing_makes_it_fail])
