"""Independent prompts, answered together: python examples/batch.py MODEL PROMPT..."""

import sys

import thinkey

model = thinkey.Model.load(sys.argv[1])
for answer in thinkey.batch_generate(model, sys.argv[2:], cache="kivi:8", max_tokens=12, temperature=0):
    print(repr(answer.text), answer.stop_reason)
