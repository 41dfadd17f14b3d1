#!/usr/bin/env python3
"""The short form of bench/serve_soak.py.

usage: soak_test.py THINKEY MODEL WORK_DIRECTORY
"""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.exit(subprocess.run([sys.executable, ROOT / "bench/serve_soak.py", "--program", sys.argv[1], "--model", sys.argv[2],
                         "--requests", "250", "--longest", "1200", "--work", sys.argv[3]], check=False).returncode)
