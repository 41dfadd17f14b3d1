"""thinkey's cache in Hugging Face transformers, on CPU.

    import thinkey.hf
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="thinkey")
    model.generate(**inputs, past_key_values=thinkey.hf.ThinCache("snapkv:2048+think:0.4"))

transformers computes the projections and everything else; keys and values lie in our blocks, compressed right after
each layer's prompt, and our kernels attend to them. Importing this module registers the attention "thinkey".

Needs torch and transformers 4.56 or later: pip install 'thinkey[hf]'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.masking_utils import AttentionMaskInterface

from thinkey import _core
from thinkey.cache_spec import CacheSpec, Compactor, ExpectedAttention

NAME = "thinkey"  # of the attention implementation


class _Incoming:
    """What update() leaves on the tensors it returns, for the attention that gets them next."""

    def __init__(self, cache: ThinCache, layer: int) -> None:
        self.cache, self.layer = cache, layer


def _windows(config: Any) -> list[int]:
    """Each layer's sliding window, 0 for none, as transformers' own caches read it from a configuration."""
    text = config.get_text_config(decoder=True)
    window = getattr(text, "sliding_window", None) or 0
    types = getattr(text, "layer_types", None)
    if types is None:
        if getattr(text, "attention_chunk_size", None):
            raise _core.Error("ThinCache: attention in chunks (attention_chunk_size) is not supported")
        return [window] * text.num_hidden_layers
    for kind in types:
        if kind not in ("full_attention", "sliding_attention"):
            raise _core.Error(f"ThinCache: layers of type {kind!r} are not supported; only full and sliding attention")
    return [window if kind == "sliding_attention" else 0 for kind in types]


def _frequencies(model: PreTrainedModel) -> list[float]:
    """The inverse frequencies of the model's one rotary embedding."""
    found = [module for module in model.modules() if hasattr(module, "inv_freq")]
    if len(found) != 1 or getattr(found[0], "attention_scaling", 1.0) != 1.0:
        raise _core.Error("ThinCache: this policy undoes RoPE, which is known for models with one plain rotary embedding")
    frequencies: list[float] = found[0].inv_freq.float().tolist()
    return frequencies


class ThinCache(Cache):  # type: ignore[misc]
    """A transformers Cache whose keys and values are thinkey's: fewer tokens, fewer channels, fewer bits.

    spec: text, or a thinkey.CacheSpec. model: needed by the policies `expected` and `compactor`, which undo RoPE.

    Rows of a batch are independent sequences; left padding is left out of them. The model must attend with
    attn_implementation="thinkey" (also model.set_attn_implementation("thinkey")), and is refused otherwise.
    Beam search and contrastive reordering share blocks between beams. crop() works where nothing has been dropped.
    Raises thinkey.Error for what is not supported: right padding, custom masks, training, chunked attention.
    """

    def __init__(self, spec: CacheSpec | str, model: PreTrainedModel | None = None) -> None:
        super().__init__(layers=[])
        self.spec = spec if isinstance(spec, CacheSpec) else CacheSpec.parse(spec)
        self._frequencies: list[float] = []
        if isinstance(self.spec.eviction.policy, ExpectedAttention | Compactor):
            if model is None:
                raise _core.Error(f"ThinCache: {self.spec} undoes RoPE; give the model: ThinCache(spec, model)")
            self._frequencies = _frequencies(model)
        self.reset()

    # -- what transformers asks a cache

    def reset(self) -> None:
        """Forgets everything."""
        self._rows: list[_core.KvCache] = []
        self._windows: list[int] = []
        self._padding: list[int] = []  # left, of each row
        self._seen = 0  # columns of input, padding included
        self._expected: tuple[float, float] = (0.0, 0.0)
        self._waiting: int | None = None  # the layer whose tokens nobody has attended with yet

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hands a layer's new keys and values [B, Hkv, n, D] on to the attention, which stores them."""
        self._require_attended()
        if key_states.device.type != "cpu":
            raise _core.Error(f"ThinCache: the model is on {key_states.device}; thinkey's kernels run on CPUs")
        self._waiting = layer_idx
        keys = key_states.view_as(key_states)
        keys.thinkey_incoming = _Incoming(self, layer_idx)
        return keys, value_states

    def _require_attended(self) -> None:
        if self._waiting is not None:
            raise _core.Error(
                "ThinCache: the model does not attend with thinkey; load it with "
                'attn_implementation="thinkey", or call model.set_attn_implementation("thinkey")'
            )

    def get_seq_length(self, layer_idx: int = 0, *args: Any) -> int:
        """Columns of input seen, left padding included."""
        self._require_attended()
        return self._seen

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """The column of the next token."""
        return self._seen

    def get_mask_sizes(self, query: Any, layer_idx: int = 0) -> tuple[int, int]:
        """Length and offset of masks; `query` is a length (transformers 5) or positions (4)."""
        self._require_attended()
        return self._seen + (query if isinstance(query, int) else query.shape[0]), 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """No limit."""
        return -1

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """No limit."""
        return -1

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Row i goes on from row beam_idx[i]; rows that go on from the same one share its blocks."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the rows with these indices, in their order."""
        taken: set[int] = set()
        rows = []
        for i in indices.tolist():
            rows.append(self._rows[i].fork(self._rows[i].tokens_seen) if i in taken else self._rows[i])
            taken.add(i)
        self._rows, self._padding = rows, [self._padding[i] for i in indices.tolist()]

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each row; its blocks are shared."""
        self.batch_select_indices(torch.arange(len(self._rows)).repeat_interleave(repeats))

    def crop(self, max_length: int) -> None:
        """Goes back to the first `max_length` columns (negative: as many fewer). Error where tokens that would
        still be held then have been dropped."""
        length = max_length if max_length >= 0 else self._seen + max_length
        if length >= self._seen:
            return
        self._rows = [row.fork(length - pad) for row, pad in zip(self._rows, self._padding, strict=True)]
        self._seen = length

    @property
    def is_compileable(self) -> bool:
        return False

    @property
    def is_initialized(self) -> bool:
        return bool(self._rows)

    @property
    def is_sliding(self) -> list[bool]:
        return [False] * len(self._windows)  # masks are of the whole length; our kernels know the windows

    @property
    def max_batch_size(self) -> int:
        return len(self._rows)

    def __len__(self) -> int:
        return len(self._windows)

    def __repr__(self) -> str:
        return f"ThinCache({str(self.spec)!r}, rows={len(self._rows)}, seen={self._seen})"

    # -- what it holds

    def reports(self) -> list[_core.CacheReport]:
        """Of each row."""
        return [row.report() for row in self._rows]

    @property
    def bytes(self) -> int:
        """Allocated for keys and values, positions and tables included. Rows that share blocks count them each."""
        return sum(report.bytes for report in self.reports())

    # -- attention

    def _begin(self, module: Any, query: torch.Tensor, key: torch.Tensor, padding: list[int], **logits: Any) -> None:
        self._windows = _windows(module.config)
        self._padding = padding
        scale, softcap, sinks = logits["scale"], logits["softcap"], logits["sinks"]
        self._expected = (scale, softcap)
        layers = [
            _core.KvLayer(sliding_window=window, scale=scale, softcap=softcap, sinks=sinks) for window in self._windows
        ]
        self._rows = [
            _core.KvCache(
                self.spec,
                query_heads=query.shape[1],
                kv_heads=key.shape[1],
                head_dim=key.shape[3],
                layers=layers,
                inverse_frequencies=self._frequencies,
            )
            for _ in range(query.shape[0])
        ]

    def _attend(
        self,
        module: Any,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scale: float,
        softcap: float,
        window: int,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        self._waiting = None
        batch, heads, n, dim = query.shape
        first = layer == 0 and self._seen == 0
        if first:
            self._begin(
                module, query, key, _left_padding(mask, batch, n), scale=scale, softcap=softcap, sinks=sinks is not None
            )
        elif mask is not None and layer == 0:
            _require_same_padding(mask, self._padding, self._seen + n)
        if batch != len(self._rows):
            raise _core.Error(f"ThinCache: a batch of {batch} for a cache of {len(self._rows)} rows")
        if (scale, softcap) != self._expected or window != self._windows[layer]:
            raise _core.Error(
                f"ThinCache: layer {layer} attends with scale {scale}, soft cap {softcap} and window {window}; the "
                f"cache was made for {self._expected[0]}, {self._expected[1]} and {self._windows[layer]}"
            )
        if sinks is not None and self._seen == 0:
            for row in self._rows:
                row.set_sinks(layer, sinks.detach().float().tolist())
        if n == 1 and self._seen > 0:
            out = np.empty((batch, heads, dim), np.float32)
            _core.KvCache.forward_together(
                self._rows, layer, _numpy(query[:, :, 0]), _numpy(key[:, :, 0]), _numpy(value[:, :, 0]), out
            )
            attended = torch.from_numpy(out).unsqueeze(1)
        else:
            attended = torch.zeros((batch, n, heads, dim), dtype=torch.float32)
            for b, row in enumerate(self._rows):
                pad = self._padding[b] if self._seen == 0 else 0
                row.forward(
                    layer,
                    _numpy(query[b, :, pad:].transpose(0, 1)),
                    _numpy(key[b, :, pad:]),
                    _numpy(value[b, :, pad:]),
                    attended[b, pad:].numpy(),
                )
        if layer == len(self._windows) - 1:
            self._seen += n
        return attended.to(query.dtype)


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    array: np.ndarray[Any, np.dtype[np.float32]] = tensor.detach().float().contiguous().numpy()
    return array


def _left_padding(mask: torch.Tensor | None, batch: int, n: int) -> list[int]:
    """Columns at the left that hold no token, of each row."""
    if mask is None:
        return [0] * batch
    _require_padding_mask(mask, batch, n)
    padding = []
    for b, row in enumerate(mask.bool().tolist()):
        pad = row.index(True) if True in row else n
        if not all(row[pad:]) or pad == n:
            raise _core.Error(f"ThinCache: row {b} is not padded at its left only; set padding_side='left'")
        padding.append(pad)
    return padding


def _require_padding_mask(mask: torch.Tensor, batch: int, columns: int) -> None:
    if mask.dim() != 2 or tuple(mask.shape) != (batch, columns):
        raise _core.Error(
            f"ThinCache: an attention mask of shape {list(mask.shape)}; only padding masks [{batch}, {columns}] are supported"
        )


def _require_same_padding(mask: torch.Tensor, padding: list[int], columns: int) -> None:
    _require_padding_mask(mask, len(padding), columns)
    if [columns - int(count) for count in mask.sum(dim=1)] != padding:
        raise _core.Error("ThinCache: the attention mask now hides other tokens than it did with the prompt")


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention "thinkey" of transformers: query [B, H, n, D], key and value [B, Hkv, n, D] of the new tokens;
    the output is [B, n, H, D]."""
    incoming: _Incoming | None = getattr(key, "thinkey_incoming", None)
    if incoming is None:
        raise _core.Error(
            "thinkey attention: there is no ThinCache; pass past_key_values=ThinCache(spec) (one made outside of this "
            "model's attention layers, or use_cache=False, cannot be attended to)"
        )
    if dropout or (torch.is_grad_enabled() and query.requires_grad):
        raise _core.Error("thinkey attention: it has no gradients; use torch.no_grad() and model.eval()")
    if position_bias is not None or is_causal is False or not getattr(module, "is_causal", True):
        raise _core.Error("thinkey attention: only causal attention without position biases is supported")
    if value.shape[-1] != key.shape[-1]:
        raise _core.Error(
            f"thinkey attention: keys of {key.shape[-1]} and values of {value.shape[-1]} channels are not supported"
        )
    out = incoming.cache._attend(
        module,
        incoming.layer,
        query,
        key,
        value,
        attention_mask,
        scaling if scaling is not None else float(query.shape[-1]) ** -0.5,
        softcap or 0.0,
        sliding_window or 0,
        s_aux,
    )
    return out, None


def _mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """The padding mask [B, columns], None where there is no padding. Causality and windows are the kernels'."""
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _mask)
