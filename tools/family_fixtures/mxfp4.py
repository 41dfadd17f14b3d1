"""OpenAI's MXFP4 as GPT-OSS stores its experts: 32 four-bit numbers (e2m1) with one power of two."""
import numpy as np
import torch

VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
EXPERTS = ("gate_up_proj", "down_proj")


def is_expert(name):
    return name.endswith(tuple(f"experts.{kind}" for kind in EXPERTS))


def quantize(matrices):
    """[..., columns] -> codes [..., columns / 32, 32] and exponents [..., columns / 32], biased by 127."""
    blocks = matrices.reshape(*matrices.shape[:-1], -1, 32)
    exponents = np.floor(np.log2(np.abs(blocks).max(axis=-1))) - 2
    scaled = blocks / np.exp2(exponents)[..., None]
    codes = np.abs(scaled[..., None] - VALUES).argmin(axis=-1)
    return codes.astype(np.uint8), (exponents + 127).astype(np.uint8)


def round_experts(name, weight):
    """The experts' matrices as MXFP4 keeps them (rows run along the inputs), all else as BF16."""
    if not is_expert(name):
        return weight.to(torch.bfloat16).float()
    rows = weight.numpy().swapaxes(1, 2)
    codes, exponents = quantize(rows)
    kept = VALUES[codes] * np.exp2(exponents.astype(np.float32) - 127)[..., None]
    return torch.from_numpy(kept.reshape(rows.shape).swapaxes(1, 2).copy())


def pack_experts(tensors):
    """Each expert matrix as <name>_blocks [E, rows, columns / 32, 16] and <name>_scales [E, rows, columns / 32]."""
    packed = {}
    for name, value in tensors.items():
        if not is_expert(name):
            packed[name] = value
            continue
        codes, exponents = quantize(value.float().numpy().swapaxes(1, 2))
        packed[name + "_blocks"] = torch.from_numpy(codes[..., 0::2] | codes[..., 1::2] << 4)
        packed[name + "_scales"] = torch.from_numpy(exponents)
    return packed
