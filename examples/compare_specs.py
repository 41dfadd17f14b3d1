"""What cache specs cost and do to a model's predictions: python examples/compare_specs.py MODEL TEXT_FILE"""

import sys
from pathlib import Path

import thinkey
from thinkey import evaluate

model = thinkey.Model.load(sys.argv[1], decode_precision="f32")
text = Path(sys.argv[2]).read_text(encoding="utf-8")
caches = ["full", "snapkv:25%", "snapkv:25%+think:0.4", "snapkv:25%+think:0.4+kivi:4"]
run = evaluate.kl(model, text, caches, prompt=400, continuation=20, samples=2)
print(run.mean()[["kl", "top1", "cache_bytes"]])
