"""`python -m thinkey`, and the command `thinkey`: the program, as `./dev build` makes it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from thinkey import _core


def program() -> str:
    """Where it is. Raises Error."""
    path = Path(__file__).parent / "bin" / "thinkey"
    if not path.exists():
        raise _core.Error(f"{path} is missing; install the package anew, or build the target thinkey-cli")
    return str(path)


def main() -> None:
    try:
        path = program()
    except _core.Error as error:
        sys.exit(f"thinkey: {error}")
    os.execv(path, ["thinkey", *sys.argv[1:]])


if __name__ == "__main__":
    main()
