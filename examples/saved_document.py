"""A document is read once and asked often: python examples/saved_document.py MODEL DOCUMENT CACHE_FILE QUESTION..."""

import sys
from pathlib import Path

import thinkey

model_path, document, saved, *questions = sys.argv[1:]
model = thinkey.Model.load(model_path)
if not Path(saved).exists():
    # Made before any question is known: a policy that does not look at the last queries.
    session = thinkey.Session(model, "keydiff:50%+kivi:8")
    session.prefill(model.tokenize(Path(document).read_text(encoding="utf-8")))
    session.save(saved)
whole = thinkey.Session.load(model, saved)
for question in questions:
    prompt = model.tokenize("\n" + question, add_special=False)
    print(thinkey.generate(whole.fork(), prompt, max_tokens=16, temperature=0).text.strip())
