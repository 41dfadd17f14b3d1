#!/usr/bin/env python3
"""Checks that includes point downwards: a floor of src/ sees only the floors below it, include/
sees nothing of src/, a device (src/backend/cpu) is seen by its own folder and by who chooses it, and no files
include each other in a circle. Exit 1 with file:line for each
violation."""

import re
import sys
from pathlib import Path

# What each floor may include besides itself and the public headers.
FLOORS = {
    "base": set(),
    "backend": {"base"},
    "formats": {"base"},
    "jinja": {"base"},
    "tokenizer": {"base", "formats"},
    "cache": {"base", "backend"},
    "model": {"base", "backend", "formats", "cache"},
    "engine": {"base", "backend", "formats", "tokenizer", "jinja", "cache", "model"},
}
FLOORS["eval"] = FLOORS["engine"] | {"engine"}
FLOORS["server"] = FLOORS["engine"] | {"engine"}
FLOORS["cli"] = FLOORS["eval"] | {"eval", "server"}

# A device's folder is seen by itself alone, and by these.
DEVICES = ("backend/cpu/",)
SEES_DEVICES = {
    "src/backend/default_stores.cpp": "chooses the backend",
    "src/engine/model.cpp": "chooses the backend",
    "src/cli/machine_limits.cpp": "measures the machine",
    "src/cli/machine_limits.h": "measures the machine",
    "src/model/expert_tensors.cpp": "widens and repacks weights while they are loaded",
    "src/model/weights.cpp": "widens and repacks weights while they are loaded",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def includes(path):
    """(line number, included path) of every quoted include."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1)


def is_foreign(name):
    """A library's header, such as "hwy/highway.h"; the project's own are written from src/ or include/."""
    folder, slash, _ = name.partition("/")
    return bool(slash) and folder not in FLOORS and folder != "thinkey"


def resolve(root, name):
    for folder in ("include", "src"):
        if (root / folder / name).is_file():
            return root / folder / name
    return None


def check_file(root, path):
    """Violations of one file as (line, message), and the project files it includes."""
    top, floor = path.relative_to(root).parts[:2]
    found, targets = [], []
    for number, name in includes(path):
        if is_foreign(name):
            continue
        target = resolve(root, name)
        if target is None:
            found.append((number, f'"{name}" is neither in include/ nor in src/'))
            continue
        targets.append((number, target))
        device = next((d for d in DEVICES if name.startswith(d)), None)
        own = path.relative_to(root).as_posix()
        if device and not own.startswith("src/" + device) and own not in SEES_DEVICES:
            found.append((number, f'"{name}" belongs to a device; only its own folder sees it'))
        target_top, target_floor = target.relative_to(root).parts[:2]
        if target_top == "include" or (top == "src" and target_floor == floor):
            continue
        if top == "include":
            found.append((number, f'public header includes "{name}" of src/'))
        elif floor not in FLOORS:
            found.append((number, f"floor {floor} is not known to tools/check_floors.py"))
        elif target_floor not in FLOORS[floor]:
            found.append((number, f'floor {floor} may not include "{name}"'))
    return found, targets


def circles(graph):
    """Each file whose include leads back to a file that is still open, as (file, line, target)."""
    done, found = set(), []

    def visit(path, trail):
        for number, target in graph.get(path, ()):
            if target == path or target in trail:
                found.append((path, number, target))
            elif target not in done:
                visit(target, trail | {path})
        done.add(path)

    for path in graph:
        if path not in done:
            visit(path, set())
    return found


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    files = sorted(p for top in ("include", "src") for p in (root / top).rglob("*") if p.suffix in (".h", ".cpp"))
    violations, graph = [], {}
    for path in files:
        found, graph[path] = check_file(root, path)
        violations += [(path, number, message) for number, message in found]
    for path, number, target in circles(graph):
        violations.append((path, number, f"closes a circle through {target.relative_to(root)}"))
    for path, number, message in violations:
        print(f"{path.relative_to(root)}:{number}: {message}", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
