"""A model, a thin cache, an answer: python examples/quick_start.py MODEL"""

import sys

import thinkey

model = thinkey.Model.load(sys.argv[1])
session = thinkey.Session(model, "snapkv:512,kernel=7,pool=max+think:0.4")
text = "The harbour was quiet. " * 200 + "The passkey for distant island is 76848. " + "The harbour was quiet. " * 200
prompt = text + "\nWhat is the passkey for distant island?\n"
answer = thinkey.generate(session, prompt, max_tokens=8, temperature=0)
report = session.report()
print(answer.text.strip())
print(f"{report.tokens_seen} tokens in {report.bytes / 1024:.0f} KiB, {100 * report.share_of_full:.1f} % of a full cache")
