#!/usr/bin/env python3
"""Writes tests/fixtures/ops/<type>.bin: random packed rows and what the gguf package dequantizes them to.

    python3 tools/make_quant_fixtures.py [output directory]

Layout, little endian: 8 bytes magic "TKQUANT1", u32 rows, u32 cols, u32 packed bytes per row, u32 zero,
the packed rows, then f32 [rows, cols]. Needs numpy and gguf (0.10 or later). The seed is fixed: running it again gives
the same bytes.
"""

import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

ROWS, COLS = 5, 512

# Byte offsets of each type's f16 fields; every other byte is a code or a packed scale and may be anything.
HALF_FIELDS = {
    Type.Q8_0: [0],
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.IQ4_NL: [0],
    Type.IQ4_XS: [0],
    Type.MXFP4: [],  # its scale is an exponent
    Type.IQ2_XXS: [0],
    Type.IQ2_XS: [0],
    Type.IQ2_S: [0],
    Type.IQ3_XXS: [0],
    Type.IQ3_S: [0],
    Type.IQ1_S: [0],
    Type.IQ1_M: [],  # its f16 lies in pieces
}

# Zero of both signs, smallest and largest subnormal, smallest normal, and large values of both signs.
EXTREMES = np.array([0.0, -0.0, 2.0**-24, 1023 * 2.0**-24, 2.0**-14, -(2.0**-14), 1000.0, -1000.0, 65504.0], np.float16)


def packed_rows(rng: np.random.Generator, kind: Type) -> np.ndarray:
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = ROWS * COLS // elements
    packed = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for field in HALF_FIELDS[kind]:
        halves = rng.normal(0.0, 0.02, blocks).astype(np.float16)
        # The last row (K-quants: as many blocks as there are) meets the extremes.
        extreme = rng.permutation(EXTREMES)[: min(len(EXTREMES), COLS // elements)]
        halves[-len(extreme) :] = extreme
        packed[:, field : field + 2] = halves.view(np.uint8).reshape(blocks, 2)
    if kind == Type.MXFP4:
        packed[:, 0] = rng.integers(110, 140, blocks)
        packed[-5:, 0] = [0, 1, 2, 127, 128]
    if kind == Type.IQ1_M:
        halves = rng.normal(0.0, 0.02, blocks).astype(np.float16)
        halves[-2:] = EXTREMES[2:4]
        for j in range(4):  # a quarter of it on top of every other byte, from byte 49 on
            quarter = (halves.view(np.uint16) >> (4 * j)) & 0xF
            packed[:, 49 + 2 * j] = (packed[:, 49 + 2 * j] & 0x0F) | (quarter << 4).astype(np.uint8)
        return packed.reshape(ROWS, -1)
    fixed = {f + i for f in HALF_FIELDS[kind] for i in (0, 1)} | ({0} if kind == Type.MXFP4 else set())
    packed[0, [i for i in range(size) if i not in fixed]] = 0
    packed[1, [i for i in range(size) if i not in fixed]] = 255
    return packed.reshape(ROWS, -1)


def plain_rows(rng: np.random.Generator, kind: Type) -> tuple[np.ndarray, np.ndarray]:
    values = rng.normal(0.0, 1.0, (ROWS, COLS)).astype(np.float32)
    values[-1, : len(EXTREMES)] = EXTREMES
    if kind == Type.F32:
        return values.view(np.uint8), values
    if kind == Type.F16:
        halves = values.astype(np.float16)
        return halves.view(np.uint8), halves.astype(np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    return bits.view(np.uint8), (bits.astype(np.uint32) << 16).view(np.float32)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/fixtures/ops"
    out.mkdir(parents=True, exist_ok=True)
    for kind in [Type.F32, Type.F16, Type.BF16, *HALF_FIELDS]:
        rng = np.random.default_rng(int(kind))
        if kind in HALF_FIELDS:
            packed = packed_rows(rng, kind)
            expected = dequantize(packed, kind)
        else:
            packed, expected = plain_rows(rng, kind)
        assert expected.shape == (ROWS, COLS) and expected.dtype == np.float32
        header = b"TKQUANT1" + struct.pack("<4I", ROWS, COLS, packed.shape[1], 0)
        (out / f"{kind.name.lower()}.bin").write_bytes(header + packed.tobytes() + expected.tobytes())


if __name__ == "__main__":
    main()
