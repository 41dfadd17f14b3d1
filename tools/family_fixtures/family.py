"""What a tiny checkpoint is made from."""
from dataclasses import dataclass, field
from typing import Callable

import torch

from .reference import PROMPT
from .spelling import old_rope


@dataclass
class Family:
    name: str
    model: str                            # transformers' class, less ForCausalLM
    config: dict
    off: dict                             # feature -> config without it, or {"weights": {regex: neutral value}}
    dtype: torch.dtype = torch.float16
    spell: Callable | None = old_rope     # config.json as transformers 5 writes it -> as it is published
    gguf: bool = True
    prompt: int = PROMPT
    gains: dict = field(default_factory=dict)  # see reference.draw
    config_class: str | None = None
    round: Callable | None = None         # (name, weight) -> what a quantized checkpoint keeps of it
    pack: Callable | None = None          # tensors as transformers saves them -> as they are stored
    reread: bool = True                   # transformers must read the directory as it was written


def shape(width=32, layers=2, heads=4, kv_heads=2, ffn=40, **more):
    return dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
                intermediate_size=ffn) | more


def rope(theta=10000.0, kind="default", **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta} | more}


def ropes(full, sliding):
    """A RoPE for each kind of layer."""
    return {"rope_parameters": {"full_attention": full["rope_parameters"],
                                "sliding_attention": sliding["rope_parameters"]}}
