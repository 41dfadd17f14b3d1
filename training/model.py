"""Llama architecture: RMSNorm, RoPE on interleaved pairs (as llama.cpp has it), grouped-query attention, SwiGLU."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    """Shape of the model."""
    vocab: int = 4096
    layers: int = 4
    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    hidden: int = 704
    rope_base: float = 500000.0  # enough slow channels to match content over thousands of tokens
    norm_eps: float = 1e-5
    context: int = 8192


def rotate(x, cos, sin):
    """Rotate neighbouring channel pairs of x [B, H, T, D] by the angles of cos, sin [B, 1, T, D/2]."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).type_as(x)


class Norm(nn.Module):
    """Root-mean-square norm with a learned scale."""

    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.width))
        self.eps = config.norm_eps

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


class Block(nn.Module):
    """Attention and feed-forward with pre-norms."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.attn_norm, self.ffn_norm = Norm(config), Norm(config)
        self.attn_q = nn.Linear(config.width, wide, bias=False)
        self.attn_k = nn.Linear(config.width, narrow, bias=False)
        self.attn_v = nn.Linear(config.width, narrow, bias=False)
        self.attn_output = nn.Linear(wide, config.width, bias=False)
        self.ffn_gate = nn.Linear(config.width, config.hidden, bias=False)
        self.ffn_up = nn.Linear(config.width, config.hidden, bias=False)
        self.ffn_down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x, cos, sin, rows=None):
        """x [B, T, width]; with `rows` [B, R] only these positions are queried and returned."""
        c, (batch, length, _) = self.config, x.shape
        h = self.attn_norm(x)
        k = self.attn_k(h).view(batch, length, c.kv_heads, c.head_dim).transpose(1, 2)
        v = self.attn_v(h).view(batch, length, c.kv_heads, c.head_dim).transpose(1, 2)
        k = rotate(k, cos, sin)
        mask = None
        if rows is not None:
            pick = rows.unsqueeze(-1)
            x, h = (y.gather(1, pick.expand(-1, -1, c.width)) for y in (x, h))
            cos, sin = (y.gather(2, pick.unsqueeze(1).expand(-1, -1, -1, y.shape[-1])) for y in (cos, sin))
            mask = (torch.arange(length) <= pick).unsqueeze(1)
        q = self.attn_q(h).view(batch, -1, c.heads, c.head_dim).transpose(1, 2)
        q = rotate(q, cos, sin)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(2))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Llama(nn.Module):
    """The language model; input and output embeddings are the same matrix."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocab, config.width)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.output_norm = Norm(config)
        for name, p in self.named_parameters():
            if "attn_output" in name or "ffn_down" in name:
                nn.init.zeros_(p)  # the residual stream starts as the bare embeddings: keys stay easy to compare
            elif p.dim() == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5)

    def forward(self, ids, positions=None, rows=None):
        """Logits for ids [B, T] at every position, or only at `rows` [B, R] (the last layer then skips the rest)."""
        if positions is None:
            positions = torch.arange(ids.shape[1]).expand_as(ids)
        d = self.config.head_dim
        freq = self.config.rope_base ** (-torch.arange(0, d, 2) / d)
        angle = positions.unsqueeze(1).unsqueeze(-1).float() * freq
        cos, sin = angle.cos(), angle.sin()
        x = self.token_embd(ids)
        for i, block in enumerate(self.blk):
            x = block(x, cos, sin, rows if i == len(self.blk) - 1 else None)
        return F.linear(self.output_norm(x), self.token_embd.weight)


@torch.no_grad()
def head_start(model):
    """Initialise the attention so that copying from context works, roughly, before any training.

    On one core, the wait until a small model discovers "look one token back, then look for the same
    context" would take most of the training time. Random projections give it that circuit to begin with:
    layer 0 looks 1 to 4 tokens back and notes what it saw; layers 1 and 2 compare these notes with the
    present tokens (in RoPE's slow channels, so at any distance) and bring back the token found there.
    Training is free to change all of it.
    """
    c, d = model.config, model.config.head_dim
    scale = c.width ** -0.5  # size of an embedding entry
    bias = 4.0  # channel 0 of every normalised embedding: the constant that positional attention needs
    model.token_embd.weight[:, 0] = bias * scale
    unit = bias / (1 + bias * bias / c.width) ** 0.5
    freq = c.rope_base ** (-torch.arange(0, d, 2) / d)
    look, group = model.blk[0], c.heads // c.kv_heads
    read = [torch.linalg.qr(torch.randn(c.width, d))[0].T for _ in range(c.kv_heads)]
    write = [torch.randn(c.width, d) * d ** -0.5 * scale for _ in range(c.heads)]
    for p in read + write:  # leave the constant alone
        (p[:, 0] if p.shape[0] == d else p[0]).zero_()
    for h in range(c.heads):
        for pair in range(8):
            angle = freq[pair] * (h + 1)
            strength = 6 / unit
            rows = h * d + 2 * pair
            look.attn_q.weight[rows, 0] = strength * angle.cos()
            look.attn_q.weight[rows + 1, 0] = -strength * angle.sin()
            look.attn_k.weight[h // group * d + 2 * pair, 0] = strength
            look.attn_k.weight[h // group * d + 2 * pair + 1, 0] = 0
        look.attn_v.weight[h // group * d:(h // group + 1) * d] = read[h // group]
        look.attn_output.weight[:, h * d:(h + 1) * d] = write[h]
    for block in model.blk[1:3]:
        for kv in range(c.kv_heads):
            slow = torch.arange(d // 2, d)
            note = write[kv * group] / scale  # what the head that looks one (or three) back wrote
            block.attn_k.weight[kv * d + slow] = 1.5 * note.T[:d // 2]
            bring = torch.linalg.qr(torch.randn(c.width, d))[0].T
            bring[:, 0] = 0
            block.attn_v.weight[kv * d:(kv + 1) * d] = bring
            for h in range(kv * group, (kv + 1) * group):
                block.attn_q.weight[h * d + slow] = 1.5 * read[kv][:d // 2]
                block.attn_output.weight[:, h * d:(h + 1) * d] = bring.T * scale * 2
