#!/usr/bin/env python3
"""Writes tests/fixtures/formats/fp8.safetensors: 8- and 4-bit floats and what transformers makes of them.

    python3 tools/make_fp8_fixtures.py [output file]

CASE.weight, CASE.weight_scale_inv and CASE.expected (BF16, by transformers' Fp8Dequantize) for scales per block,
per matrix and per row; experts_blocks, experts_scales and experts_expected as gpt-oss has them. Needs torch,
transformers and safetensors. Seeded: running it again gives the same bytes.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors


def codes(generator: torch.Generator, rows: int, cols: int) -> torch.Tensor:
    raw = torch.randint(0, 256, (rows, cols), dtype=torch.uint8, generator=generator)
    raw[(raw & 0x7F) == 0x7F] = 0x7E  # no NaN
    return raw.view(torch.float8_e4m3fn)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/fixtures/formats/fp8.safetensors"
    generator = torch.Generator().manual_seed(8)
    every = torch.arange(256, dtype=torch.uint8).reshape(8, 32)
    every[(every & 0x7F) == 0x7F] = 0
    scales = lambda *shape: torch.rand(shape, generator=generator) * 0.01 + 1e-4  # noqa: E731
    cases = {
        "block": (codes(generator, 64, 96), scales(2, 3)),  # blocks of 32 x 32
        "block16": (codes(generator, 64, 96), scales(2, 3).to(torch.bfloat16)),
        "tensor": (every.view(torch.float8_e4m3fn), scales(1).reshape(())),
        "row": (codes(generator, 6, 40), scales(6, 1).to(torch.bfloat16)),
    }
    tensors = {}
    for name, (weight, scale) in cases.items():
        grid = scale if scale.dim() == 2 else scale.reshape(1, 1)
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.weight_scale_inv"] = scale
        tensors[f"{name}.expected"] = Fp8Dequantize(None)._dequantize_one(weight, grid, output_dtype=torch.bfloat16)
    blocks = torch.randint(0, 256, (2, 3, 2, 16), dtype=torch.uint8, generator=generator)
    exponents = torch.randint(110, 130, (2, 3, 2), dtype=torch.uint8, generator=generator)
    tensors["experts_blocks"], tensors["experts_scales"] = blocks, exponents
    expected = convert_moe_packed_tensors(blocks, exponents, dtype=torch.float32)  # transposed to [E, cols, rows]
    tensors["experts_expected"] = expected.transpose(1, 2).contiguous()
    save_file(tensors, out)


if __name__ == "__main__":
    main()
