"""`thinkey serve` as a child process: started, watched, ended."""

from __future__ import annotations

import logging
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping

from thinkey import _core
from thinkey.__main__ import program

Options = Mapping[str, object]
"""Those of `thinkey serve`, by their long names without dashes: {"cache": "think:0.4", "cache-shared": True}."""

_log = logging.getLogger("ray.serve")

# Becomes the program; the system ends it with the thread that started it, so that no server outlives its replica.
_LAUNCHER = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit("the replica is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def command_line(model: str, options: Options) -> list[str]:
    """Raises Error for options that are the replica's own to choose."""
    words = ["serve", "--model", model, "--host", "127.0.0.1", "--port", "0"]
    for name, value in options.items():
        if name in ("model", "host", "port"):
            raise _core.Error(f'thinkey.ray: the option "{name}" is chosen for each replica')
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is True:
                words.append(f"--{name}")
            elif one is not False and one is not None:
                words += [f"--{name}", str(one)]
    return words


class Server:
    """A server on a free port of this machine that dies with this process. `lost` is called where it ends by itself."""

    def __init__(self, model: str, options: Options, lost: Callable[[str], None]) -> None:
        """Returns when it answers. Raises Error with its last words where it does not."""
        environment = dict(os.environ)
        self.key: str | None = None
        if not {"api-key", "api-key-file"} & options.keys() and not environment.get("THINKEY_API_KEY"):
            # Other users of this machine are not to come past the ingress.
            self.key = environment["THINKEY_API_KEY"] = secrets.token_hex(16)
        self._command = [program(), *command_line(model, options)]
        self._environment = environment
        self._lost = lost
        self._stopping = False
        self._ports: queue.Queue[int | None] = queue.Queue()
        self._last_words: deque[str] = deque(maxlen=20)
        self._thread = threading.Thread(target=self._keep, name="thinkey-server", daemon=True)
        self._thread.start()
        port = self._ports.get()
        if port is None:
            raise _core.Error("the server did not start: " + " ".join(self._last_words))
        self.port = port

    def _keep(self) -> None:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        self._process = subprocess.Popen(
            [*launcher, *self._command], stderr=subprocess.PIPE, text=True, errors="replace", env=self._environment
        )
        assert self._process.stderr is not None
        started = False
        for line in self._process.stderr:
            self._last_words.append(line.strip())
            found = None if started else re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                started = True
                self._ports.put(int(found.group(1)))
            _log.info(line.strip())
        status = self._process.wait()
        if not started:
            self._ports.put(None)
        elif not self._stopping:
            self._lost(f"thinkey serve ended with status {status}: " + " ".join(self._last_words))

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Lets it finish its answers (`drain`) and write its conversations; returns when it has ended."""
        self._stopping = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._thread.join()
