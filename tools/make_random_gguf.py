#!/usr/bin/env python3
"""Writes a random Llama-architecture GGUF file of any shape and quantization, for measuring speed and memory.

    python3 tools/make_random_gguf.py model.gguf --type Q4_K_M                  # Llama-3.2-1B's shape
    python3 tools/make_random_gguf.py tiny.gguf --type Q8_0 --layers 2 --width 256 --heads 4 --kv-heads 2 --ffn 512

Weights are drawn directly in their packed form, zero on average and of a size that keeps activations finite, so that a
file of a billion parameters takes seconds. Any engine that reads GGUF runs it; what it says means nothing. The mixtures
Q4_K_M and Q5_K_M place their types as llama.cpp does (Q6_K for the output, and for V and FFN-down of half the layers).
The seed is fixed: the same arguments give the same bytes. Needs numpy and gguf.
"""

import argparse

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, TokenType
from gguf.constants import GGML_QUANT_SIZES

MIXTURES = {"Q4_K_M": Type.Q4_K, "Q5_K_M": Type.Q5_K}
PLAIN = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
DEVIATION = 0.02  # of the weights


def f16(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float16).view(np.uint8).reshape(len(values), 2)


def k_scales(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Eight 6-bit scales and the same eight as minima, in K-quants' 12 bytes."""
    scale = rng.integers(24, 41, (blocks, 8), dtype=np.uint8)
    out = np.empty((blocks, 12), np.uint8)
    out[:, 0:4] = scale[:, :4] | (scale[:, 4:] >> 4) << 6
    out[:, 4:8] = scale[:, :4] | (scale[:, 4:] >> 4) << 6
    out[:, 8:12] = (scale[:, 4:] & 15) | (scale[:, 4:] & 15) << 4
    return out


def packed(rng: np.random.Generator, kind: Type, rows: int, cols: int) -> np.ndarray:
    """Random rows [rows, bytes per row] of a quantized type."""
    elements, size = GGML_QUANT_SIZES[kind]
    if cols % elements:
        raise SystemExit(f"make_random_gguf: {kind.name} needs rows of a multiple of {elements}, not {cols}")
    blocks = rows * cols // elements
    out = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    levels = {Type.Q8_0: 256, Type.Q4_0: 16, Type.Q4_1: 16, Type.Q5_0: 32, Type.Q5_1: 32, Type.Q4_K: 16, Type.Q5_K: 32,
              Type.Q6_K: 64}[kind]
    step = DEVIATION / (levels / np.sqrt(12.0)) * rng.uniform(0.8, 1.2, blocks)
    if kind in (Type.Q8_0, Type.Q4_0, Type.Q5_0):
        out[:, 0:2] = f16(step)
    elif kind in (Type.Q4_1, Type.Q5_1):
        out[:, 0:2], out[:, 2:4] = f16(step), f16(-step * (levels - 1) / 2)
    elif kind == Type.Q6_K:
        out[:, 192:208] = rng.integers(24, 41, (blocks, 16), dtype=np.uint8)
        out[:, 208:210] = f16(step / 32)
    else:  # the minimum of a sub-block is dmin * its scale: dmin makes the codes' middle zero
        out[:, 0:2], out[:, 2:4] = f16(step / 32), f16(step / 32 * (levels - 1) / 2)
        out[:, 4:16] = k_scales(rng, blocks)
    return out.reshape(rows, -1)


def tensor(rng: np.random.Generator, kind: Type, rows: int, cols: int) -> np.ndarray:
    if kind not in (Type.F32, Type.F16, Type.BF16):
        return packed(rng, kind, rows, cols)
    values = rng.standard_normal((rows, cols), np.float32) * np.float32(DEVIATION)
    if kind == Type.F32:
        return values
    if kind == Type.F16:
        return values.astype(np.float16)
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(rows, -1)


def add_vocabulary(writer: GGUFWriter, size: int) -> None:
    """SentencePiece-style: three control tokens, 256 bytes, then made-up pieces."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{b:02X}>".encode() for b in range(256)]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256
    tokens += [f"\u2581w{i}".encode() for i in range(size - len(tokens))]
    types += [TokenType.NORMAL] * (size - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(size)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def more_bits(layer: int, layers: int) -> bool:
    """Whether a mixture gives this layer's V and FFN-down six bits."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--type", default="Q4_K_M", choices=[*MIXTURES, *PLAIN])
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=32, help="query heads")
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=0, help="0: width / heads")
    parser.add_argument("--ffn", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--context", type=int, default=131072)
    parser.add_argument("--tied", action="store_true", help="no output matrix of its own")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    if a.vocabulary < 259:
        parser.error("--vocabulary: at least 259 (3 control tokens and 256 bytes)")
    if a.heads % a.kv_heads:
        parser.error("--heads must be a multiple of --kv-heads")
    head_dim = a.head_dim or a.width // a.heads
    base = MIXTURES.get(a.type) or Type[a.type]
    mixture = a.type in MIXTURES
    rng = np.random.default_rng(a.seed)

    writer = GGUFWriter(a.output, "llama")
    writer.add_name(f"random-{a.type}")
    writer.add_context_length(a.context)
    writer.add_embedding_length(a.width)
    writer.add_block_count(a.layers)
    writer.add_feed_forward_length(a.ffn)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(a.vocabulary)
    add_vocabulary(writer, a.vocabulary)

    def matrix(name: str, kind: Type, rows: int, cols: int) -> None:
        writer.add_tensor(name, tensor(rng, kind, rows, cols), raw_dtype=kind)

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(a.width, np.float32))

    matrix("token_embd.weight", base, a.vocabulary, a.width)
    for layer in range(a.layers):
        high = Type.Q6_K if mixture and more_bits(layer, a.layers) else base
        prefix = f"blk.{layer}."
        norm(prefix + "attn_norm.weight")
        matrix(prefix + "attn_q.weight", base, a.heads * head_dim, a.width)
        matrix(prefix + "attn_k.weight", base, a.kv_heads * head_dim, a.width)
        matrix(prefix + "attn_v.weight", high, a.kv_heads * head_dim, a.width)
        matrix(prefix + "attn_output.weight", base, a.width, a.heads * head_dim)
        norm(prefix + "ffn_norm.weight")
        matrix(prefix + "ffn_gate.weight", base, a.ffn, a.width)
        matrix(prefix + "ffn_up.weight", base, a.ffn, a.width)
        matrix(prefix + "ffn_down.weight", high, a.width, a.ffn)
    norm("output_norm.weight")
    if not a.tied:
        matrix("output.weight", Type.Q6_K if mixture else base, a.vocabulary, a.width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
