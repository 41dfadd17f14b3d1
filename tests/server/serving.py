"""A server for a test: started on a free port, asked with what Python has, and ended."""
import ctypes
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

SKIPPED = 77
ROOT = Path(__file__).resolve().parents[2]

# Qwen's and Hermes' form of tool calls, as small as a template can be.
TOOL_TEMPLATE = """{%- for tool in tools or [] %}{{ tool | tojson }} <tool_call> {% endfor -%}
{%- for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""


def with_clients(module):
    """Goes on in the Python that has the clients (`./dev test` makes it), or skips the test."""
    try:
        __import__(module)
    except ImportError:
        python = os.environ.get("THINKEY_CLIENTS", str(ROOT / "build/clients/bin/python"))
        if os.path.exists(python) and not os.environ.get("THINKEY_CLIENTS_TRIED"):
            os.environ["THINKEY_CLIENTS_TRIED"] = "1"
            os.execv(python, [python, *sys.argv])
        print(f"skipped: the Python package {module} is not installed (./dev test installs it)")
        sys.exit(SKIPPED)


def die_with_parent():
    """In the child: no server outlives a test that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Server:
    def __init__(self, program, model, *options, env=None):
        self.process = subprocess.Popen([program, "serve", "-m", str(model), "--port", "0", *map(str, options)],
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})},
                                        preexec_fn=die_with_parent)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"https?://\S+:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            raise RuntimeError("the server did not start: " + "".join(self.lines))
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end()

    def end(self, signal_=signal.SIGTERM, timeout=600):
        self.process.send_signal(signal_)
        return self.process.wait(timeout)

    def request(self, method, path, body=None, headers=None, timeout=600):
        """Status, headers and the body, parsed where it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.headers.get("Content-Type", "").startswith("application/json"):
            data = json.loads(data)
        return response.status, response.headers, data

    def post(self, path, body, status=200):
        got, _, data = self.request("POST", path, body)
        assert got == status, f"{path} {body}: {got} {data}, expected {status}"
        return data

    def get(self, path, status=200):
        got, _, data = self.request("GET", path)
        assert got == status, f"{path}: {got} {data}, expected {status}"
        return data

    def refused(self, path, body, field, *words):
        """400 that names the field."""
        error = self.post(path, body, 400)["error"]
        assert error["param"] == field, f"{body}: {error} should blame {field}"
        for word in words:
            assert word in error["message"], f"{error['message']} should say {word}"

    def metric(self, name):
        text = self.get("/metrics").decode()
        return float(re.search(rf"^thinkey_{name} (\S+)$", text, re.M).group(1))

    def events(self, path, body):
        """The objects of a stream."""
        got, headers, data = self.request("POST", path, {**body, "stream": True})
        assert got == 200, data
        assert headers["Content-Type"] == "text/event-stream"
        blocks = [b for b in data.decode().split("\n\n") if b]
        out = [b.split("data: ", 1)[1] for b in blocks]
        if path != "/v1/responses":
            assert out.pop() == "[DONE]"
        return [json.loads(o) for o in out]


def run(tests):
    """Calls every function of the list, and says which failed."""
    failed = 0
    for test in tests:
        try:
            test()
            print(f"ok       {test.__name__}", flush=True)
        except Exception as error:  # noqa: BLE001
            import traceback
            traceback.print_exc()
            failed += 1
            print(f"FAILED   {test.__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
