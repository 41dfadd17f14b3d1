"""The method on one layer's tensors, from any framework: python examples/compress_tensors.py"""

import numpy as np

import thinkey

random = np.random.default_rng(0)
q = random.normal(size=(8, 512, 64)).astype(np.float32)  # [H, T, D]
k = random.normal(size=(2, 512, 64)).astype(np.float32)  # [Hkv, T, D]
v = random.normal(size=(2, 512, 64)).astype(np.float32)
k[:, :, ::4] *= 6  # some channels matter more
thin = thinkey.compress(q, k, v, "snapkv:128+think:0.4,form=paper")
print("kept tokens", [len(tokens) for tokens in thin.kept_tokens], "kept channels", thin.kept_channels.sum(axis=1))
print("of the large channels", thin.kept_channels[:, ::4].mean(axis=1), f"{thin.bytes} of {thin.full_bytes} bytes")
print("attention", thin.attend(q[:, -1][None]).shape)
