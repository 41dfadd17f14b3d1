"""tools/check_floors.py on a small tree with one violation of each kind."""

import subprocess
import sys
import tempfile
from pathlib import Path

TREE = {
    "src/base/low.h": '#include "formats/high.h"\n',
    "src/base/same.cpp": "#include <vector>\n\n#include \"same.h\"\n",
    "src/formats/high.h": '#include "formats/circle.h"\n#include "hwy/highway.h"\n#include "base/low2.h"\n',
    "src/formats/circle.h": '// one\n#include "formats/high.h"\n',
    "src/base/low2.h": "",
    "src/backend/cpu/kernel.h": "",
    "src/backend/cpu/other.cpp": '#include "backend/cpu/kernel.h"\n',
    "src/cache/policy.cpp": '#include "backend/cpu/kernel.h"\n',
    "src/attic/old.cpp": '#include "base/low2.h"\n',
    "include/thinkey/api.h": '#include "base/low2.h"\n',
}
EXPECTED = {
    "src/base/low.h:1": "floor base may not include",
    "src/base/same.cpp:3": "neither in include/ nor in src/",
    "src/formats/circle.h:2": "circle",
    "src/cache/policy.cpp:1": "belongs to a device",
    "src/attic/old.cpp:1": "floor attic is not known",
    "include/thinkey/api.h:1": "public header",
}

with tempfile.TemporaryDirectory() as folder:
    for name, text in TREE.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    result = subprocess.run([sys.executable, sys.argv[1], folder], capture_output=True, text=True, check=False)
    lines = result.stderr.splitlines()
    assert result.returncode == 1, result
    assert len(lines) == len(EXPECTED), result.stderr
    for place, reason in EXPECTED.items():
        assert any(line.startswith(place + ":") and reason in line for line in lines), (place, result.stderr)
