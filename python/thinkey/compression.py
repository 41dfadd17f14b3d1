"""The method on one layer's queries, keys and values, from any framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from thinkey import _core
from thinkey.cache_spec import CacheSpec

if TYPE_CHECKING:
    from typing import Protocol

    class DLPack(Protocol):
        """numpy, torch, jax, ... arrays in CPU memory."""

        def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

    Array: TypeAlias = npt.NDArray[Any] | DLPack


@dataclass(frozen=True)
class Compressed:
    """One layer's compressed cache. Hkv KV heads, D head dimension."""

    cache: _core.KvCache
    kept_tokens: list[npt.NDArray[np.int32]]  # of each KV head, positions, ascending
    kept_channels: npt.NDArray[np.bool_]  # [Hkv, D], of keys
    bytes: int  # allocated
    full_bytes: int  # whole keys and values in 16 bits

    def attend(self, q: Array) -> npt.NDArray[np.float32]:
        """Attention of queries [n, H, D] that stand after the last token over what is kept: [n, H, D]."""
        queries = _float32(q)
        out = np.empty(queries.shape, np.float32)
        self.cache.attend(0, queries, out)
        return out


def _float32(array: Array) -> npt.NDArray[np.float32]:
    if not isinstance(array, np.ndarray):
        try:
            array = np.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError):  # such as bfloat16, which numpy has no name for
            array = np.asarray(array.float())  # type: ignore[union-attr]
    return np.ascontiguousarray(array, np.float32)


def compress(
    q: Array,
    k: Array,
    v: Array,
    spec: CacheSpec | str,
    *,
    scale: float = 0.0,
    softcap: float = 0.0,
    inverse_frequencies: Sequence[float] = (),
) -> Compressed:
    """Compresses a prompt of T tokens as the engine does.

    q [H, T, D], k and v [Hkv, T, D] after RoPE, in CPU memory: numpy arrays, or torch tensors and others through
    DLPack, of any floating type (a float32 array in C order is read where it lies). scale: of the logits, 0:
    1 / sqrt(D). softcap: of the logits, 0: none. inverse_frequencies: of RoPE, [R/2], which the policies
    `expected` and `compactor` undo; empty: keys have no positions in them.

    Raises Error for shapes that do not fit together, NaN, and policies that need the model itself (kvzip, critical).
    """
    queries, keys, values = _float32(q), _float32(k), _float32(v)
    for name, array in (("q", queries), ("k", keys), ("v", values)):
        if array.ndim != 3 or 0 in array.shape:
            raise _core.Error(f"compress: {name} has shape {list(array.shape)}; it must be [heads, T, D]")
    cache = _core.KvCache(
        spec,
        query_heads=queries.shape[0],
        kv_heads=keys.shape[0],
        head_dim=keys.shape[2],
        layers=[_core.KvLayer(scale=scale, softcap=softcap)],
        inverse_frequencies=inverse_frequencies,
    )
    by_token = np.ascontiguousarray(queries.transpose(1, 0, 2))
    cache.forward(0, by_token, keys, values, None)
    channels = np.zeros((keys.shape[0], keys.shape[2]), np.bool_)
    for head in range(keys.shape[0]):
        channels[head, cache.kept_channels(0, head)] = True
    report = cache.report()
    return Compressed(
        cache=cache,
        kept_tokens=[np.asarray(cache.kept_tokens(0, head), np.int32) for head in range(keys.shape[0])],
        kept_channels=channels,
        bytes=report.bytes,
        full_bytes=report.full_bytes,
    )
