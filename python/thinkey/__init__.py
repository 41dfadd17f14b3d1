"""Decoder language models on CPUs, with a KV cache that is physically thinner.

    import thinkey

    model = thinkey.Model.load("model.gguf")
    session = thinkey.Session(model, "snapkv:2048+think:0.4")
    print(thinkey.generate(session, "Once upon a time", max_tokens=64).text)

Every failure that bad input can cause is a thinkey.Error with one line that says what is wrong, where, and how to
mend it. Ctrl-C ends a computation with KeyboardInterrupt.
"""

from thinkey._core import (
    CacheReport,
    Error,
    Generation,
    KvCache,
    KvLayer,
    LayerCacheReport,
    MemoryEstimate,
    Model,
    ModelInfo,
    SamplerOptions,
    Session,
    chat_template_names,
)
from thinkey._core import version as __version__
from thinkey.cache_spec import CacheSpec
from thinkey.compression import Compressed, compress
from thinkey.generation import Sampling, batch_generate, generate, stream

__all__ = [
    "CacheReport",
    "CacheSpec",
    "Compressed",
    "Error",
    "Generation",
    "KvCache",
    "KvLayer",
    "LayerCacheReport",
    "MemoryEstimate",
    "Model",
    "ModelInfo",
    "SamplerOptions",
    "Sampling",
    "Session",
    "__version__",
    "batch_generate",
    "chat_template_names",
    "compress",
    "generate",
    "stream",
]
