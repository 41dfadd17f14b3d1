"""A transformers model with keys and values in our blocks: python examples/transformers_cache.py CHECKPOINT"""

import sys

import torch
from transformers import AutoModelForCausalLM

import thinkey.hf

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], attn_implementation="thinkey")
tokens = 3 + torch.arange(100)[None] % (model.config.vocab_size - 3)  # a checkpoint with a tokenizer would encode a text
for spec in ("full", "snapkv:48+think:0.4"):
    cache = thinkey.hf.ThinCache(spec)
    out = model.generate(tokens, attention_mask=torch.ones_like(tokens), past_key_values=cache, max_new_tokens=5)
    print(spec, out[0, 100:].tolist(), cache.bytes, "bytes")
