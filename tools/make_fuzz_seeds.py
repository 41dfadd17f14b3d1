#!/usr/bin/env python3
"""Writes the small seeds of the file formats' fuzz targets: fuzz/seeds/{gguf,safetensors,hf_config}.

    python3 tools/make_fuzz_seeds.py [output directory]

Needs numpy, gguf, torch and safetensors.
"""

import json
import struct
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import save


def gguf_bytes(tensors: list[tuple[str, tuple[int, int], Q]], model: bool, split: tuple[int, int, int] | None) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.gguf"
        w = gguf.GGUFWriter(path, "llama")
        if not model:
            w.kv_data[0].clear()
        else:
            w.add_block_count(1)
            w.add_embedding_length(32)
            w.add_head_count(2)
            w.add_tokenizer_model("llama")
            w.add_token_list(["<unk>", "<s>", "</s>", "a"])
            w.add_token_scores([0.0] * 4)
            w.add_token_types([2, 3, 3, 1])
            w.add_chat_template("{{ messages }}")
            w.add_array("x.nested", [[1, 2], [3]])
        if split:
            w.add_uint16("split.no", split[0])
            w.add_uint16("split.count", split[1])
            w.add_int32("split.tensors.count", split[2])
        for name, (rows, cols), kind in tensors:
            block, size = gguf.GGML_QUANT_SIZES[kind]
            w.add_tensor(name, np.zeros((rows, cols // block * size), np.uint8), raw_dtype=kind)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        return path.read_bytes()


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fuzz/seeds"
    for name in ("gguf", "safetensors", "hf_config"):
        (out / name).mkdir(parents=True, exist_ok=True)

    small = [("token_embd.weight", (4, 32), Q.F32), ("output.weight", (1, 32), Q.MXFP4)]
    wide = [(f"{kind.name}.weight", (1, 256), kind) for kind in (Q.Q2_K, Q.Q3_K, Q.IQ4_XS, Q.IQ2_XXS, Q.IQ3_S, Q.IQ1_M)]
    parts = [gguf_bytes(small[i : i + 1], i == 0, (i, 2, 2)) for i in range(2)]
    (out / "gguf/small.gguf").write_bytes(gguf_bytes(small, True, None))
    (out / "gguf/wide.gguf").write_bytes(gguf_bytes(wide, True, None))
    (out / "gguf/split").write_bytes(b"SPLT" + b"".join(struct.pack("<I", len(p)) + p for p in parts))

    half = torch.zeros(2, 3, dtype=torch.bfloat16)
    eight = torch.zeros(4, 6, dtype=torch.float8_e4m3fn)
    (out / "safetensors/plain").write_bytes(save({"a": half, "b": torch.zeros(2, dtype=torch.int64)}, {"k": "v"}))
    (out / "safetensors/fp8").write_bytes(save({"w": eight, "w_scale_inv": torch.ones(2, 2)}))
    (out / "safetensors/mxfp4").write_bytes(
        save({"e": torch.zeros(2, 1, 16, dtype=torch.uint8), "e_scales": torch.zeros(2, 1, dtype=torch.uint8)})
    )

    config = {"model_type": "llama", "vocab_size": 8, "eos_token_id": [1, 2], "rope_scaling": {"rope_type": "linear"}}
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
    quantizations = {
        "plain": None,
        "fp8": {"quant_method": "fp8", "weight_block_size": [8, 8], "activation_scheme": "dynamic"},
        "mxfp4": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
        "compressed": {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "config_groups": {"group_0": {"weights": weights}},
        },
    }
    for name, quantization in quantizations.items():
        text = json.dumps(config if quantization is None else config | {"quantization_config": quantization})
        (out / "hf_config" / name).write_bytes(text.encode())
    tokenizer = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}, "added_tokens": []}
    (out / "hf_config/tokenizer").write_bytes(json.dumps(config).encode() + b"\0" + json.dumps(tokenizer).encode())


if __name__ == "__main__":
    main()
