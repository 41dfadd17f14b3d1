"""The model families as data: what each tiny checkpoint exercises, and what its features are without it."""
from dataclasses import dataclass, field
from typing import Callable

import torch

from .mxfp4 import pack_experts, round_experts
from .reference import PROMPT
from .spelling import (gemma3_published, granite_hybrid, mxfp4_config, nested_tensors, nested_text, old_rope, old_rope_type, phi3_published,
                       with_defaults_dropped)

F16, BF16 = torch.float16, torch.bfloat16
FULL, LOCAL = "full_attention", "sliding_attention"
NO_WINDOW = {"sliding_window": 4096}


@dataclass
class Family:
    name: str
    model: str                            # transformers' class, less ForCausalLM
    config: dict
    off: dict                             # feature -> changes to config that switch it off, or {"weights": {regex: value}}
    dtype: torch.dtype = F16
    spell: Callable | None = old_rope     # config.json as transformers 5 writes it -> as it is published
    gguf: bool = True
    prompt: int = PROMPT
    gains: dict = field(default_factory=dict)  # see reference.draw
    config_class: str | None = None
    round: Callable | None = None         # (name, weight) -> what a quantized checkpoint keeps of it
    pack: Callable | None = None          # tensors as transformers saves them -> as they are stored
    reread: bool = True                   # transformers must read the directory as it was written


def shape(width=32, layers=2, heads=4, kv_heads=2, ffn=40, **more):
    return dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
                intermediate_size=ffn) | more


def rope(theta=10000.0, kind="default", **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta} | more}


def rope_off(**more):
    return rope(kind="default", **more)


# Yarn's formula with its customary original context, scaled to 256 tokens.
YARN = dict(kind="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=8.0, beta_slow=0.5)
TIED = {r"(o_proj|down_proj)\.weight": 4.0}  # or the likeliest token were always the last one again
# Each branch's size is that of its last norm; the embedding is as large as sqrt(width).
POST_NORMS = {r"post_(attention|feedforward)_layernorm": (2.5, 0.6), "norm": (0.2, 0.4), "embed_tokens": 0.3}
LONG = [1.0, 1.6, 2.5, 6.0]
SHORT = [1.1, 1.3, 1.8, 2.2]


def llama(name, scaling, off, theta=10000.0, spell=old_rope, **more):
    """A Llama whose point is its RoPE scaling."""
    kind = scaling.pop("kind")
    return Family(name, "Llama", shape() | rope(theta, kind, **scaling), off, spell=spell, **more)


FAMILIES = [
    # Biases of all seven projections; those of Q and K are permuted with their rows in GGUF.
    Family("llama_bias", "Llama", shape(attention_bias=True, mlp_bias=True) | rope(),
           {"attention biases": {"weights": {r"self_attn.*bias": 0}}, "MLP biases": {"weights": {r"mlp.*bias": 0}}}),

    # YaRN with mscale = mscale_all_dim (attention factor 1), queries scaled by 1 + beta ln(1 + position / original).
    Family("ministral3", "Ministral3",
           shape(head_dim=16, heads=2, kv_heads=1) | rope(1e6, **YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.4),
           {"query scale": rope(1e6, **YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.0),
            "yarn": rope(1e6, **(YARN | {"factor": 1.0}), mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.4)},
           dtype=BF16, spell=None),
    # The same inside a multimodal checkpoint, as Ministral 3 ships.
    Family("ministral3_nested", "Ministral3",
           shape(head_dim=16, heads=2, kv_heads=1) | rope(1e6, **YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.4),
           {"query scale": rope(1e6, **YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.0)}, dtype=BF16, gguf=False,
           spell=nested_text("Mistral3ForConditionalGeneration", "mistral3"), pack=nested_tensors, reread=False),

    # Biases of Q, K and V only, as every Qwen2 and Qwen2.5 has them.
    Family("qwen2", "Qwen2", shape() | rope(1e6), {"biases": {"weights": {"bias": 0}}}, dtype=BF16,
           spell=with_defaults_dropped("layer_types")),
    # A window from layer max_window_layers on. llama.cpp has no key for it.
    Family("qwen2_window", "Qwen2", shape(layers=3, use_sliding_window=True, sliding_window=12, max_window_layers=1) | rope(),
           {"window": {"use_sliding_window": False}, "layers without it": {"max_window_layers": 0}}, gguf=False,
           spell=with_defaults_dropped("layer_types")),
    # Q and K are normalised per head; heads wider than width / heads.
    Family("qwen3", "Qwen3", shape(head_dim=16, heads=2, kv_heads=1, tie_word_embeddings=True) | rope(1e6),
           {"head norms' weights": {"weights": {r"[qk]_norm": 1}}}, dtype=BF16, gains=TIED | {"[qk]_norm": (1.5, 0.5)},
           spell=with_defaults_dropped("layer_types")),
    # All layers of experts, weights of the chosen ones normed: what GGUF's qwen3moe means.
    Family("qwen3_moe", "Qwen3Moe", shape(ffn=48, head_dim=8, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=8,
                                          norm_topk_prob=True) | rope(1e6),
           {"norm of chosen": {"norm_topk_prob": False}, "second expert": {"num_experts_per_tok": 1},
            "head norms' weights": {"weights": {r"[qk]_norm": 1}}}, dtype=BF16),
    # Experts in layers 1 only: every second layer, less those named. Not normed.
    Family("qwen3_moe_mixed", "Qwen3Moe",
           shape(layers=4, ffn=24, head_dim=8, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=8,
                 norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[3]) | rope(),
           {"unnormed weights": {"norm_topk_prob": True}, "third expert": {"num_experts_per_tok": 2}}, gguf=False),

    # Soft-caps on scores and logits, every second layer windowed, norms before and after each block as 1 + w, GeGLU.
    Family("gemma2", "Gemma2", shape(layers=4, ffn=24, head_dim=16, heads=2, kv_heads=1, query_pre_attn_scalar=16, sliding_window=12,
                                     attn_logit_softcapping=3.0, final_logit_softcapping=8.0) | rope(),
           {"score cap": {"attn_logit_softcapping": None}, "logit cap": {"final_logit_softcapping": None},
            "window": NO_WINDOW, "post-norms' weights": {"weights": {"post_.*norm": 1.5}}}, dtype=BF16, gains=POST_NORMS,
           spell=with_defaults_dropped("layer_types")),
    # A query scale that is not the head's; GGUF's gemma2 can't say it.
    Family("gemma2_scalar", "Gemma2", shape(layers=2, head_dim=16, heads=2, kv_heads=1, query_pre_attn_scalar=5, sliding_window=12,
                                            attn_logit_softcapping=20.0, final_logit_softcapping=None) | rope(),
           {"query scale": {"query_pre_attn_scalar": 16}}, gains=POST_NORMS, gguf=False,
           spell=with_defaults_dropped("layer_types")),
    # Five local layers to one global, each kind with its own RoPE; the global one's positions are stretched.
    Family("gemma3", "Gemma3", shape(width=24, layers=6, ffn=24, head_dim=16, heads=2, kv_heads=1, query_pre_attn_scalar=16,
                                     sliding_window=12, rope_parameters={
                                         FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 100.0},
                                         LOCAL: {"rope_type": "default", "rope_theta": 10000.0}}),
           {"window": NO_WINDOW, "head norms' weights": {"weights": {r"[qk]_norm": 0}},
            "stretch": {"rope_parameters": {FULL: {"rope_type": "default", "rope_theta": 100.0},
                                            LOCAL: {"rope_type": "default", "rope_theta": 10000.0}}},
            "local theta": {"rope_parameters": {FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 100.0},
                                                LOCAL: {"rope_type": "default", "rope_theta": 100.0}}}},
           dtype=BF16, gains=POST_NORMS, config_class="Gemma3Text", spell=gemma3_published),
    # The same family as transformers 5 spells it, another pattern, a query scale of its own, capped logits.
    Family("gemma3_modern", "Gemma3", shape(width=32, layers=3, ffn=24, head_dim=16, heads=2, kv_heads=1, query_pre_attn_scalar=6,
                                            sliding_window=10, layer_types=[LOCAL, FULL, LOCAL], final_logit_softcapping=8.0,
                                            rope_parameters={FULL: {"rope_type": "default", "rope_theta": 1e6},
                                                             LOCAL: {"rope_type": "default", "rope_theta": 100.0}}),
           {"window": NO_WINDOW, "query scale": {"query_pre_attn_scalar": 16}, "logit cap": {"final_logit_softcapping": None},
            "pattern": {"layer_types": [LOCAL, LOCAL, FULL]}},
           gains=POST_NORMS, config_class="Gemma3Text", spell=None, gguf=False),
    # Text inside a multimodal checkpoint, as Gemma 3 4B and larger ship: nested config, prefixed tensors.
    Family("gemma3_nested", "Gemma3", shape(width=32, layers=2, ffn=24, head_dim=16, heads=2, kv_heads=1, query_pre_attn_scalar=16,
                                            sliding_window=10, layer_types=[LOCAL, FULL],
                                            rope_parameters={FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 100.0},
                                                             LOCAL: {"rope_type": "default", "rope_theta": 10000.0}}),
           {"window": NO_WINDOW}, gains=POST_NORMS, config_class="Gemma3Text", gguf=False,
           spell=nested_text("Gemma3ForConditionalGeneration", "gemma3"), pack=nested_tensors, reread=False),

    # Fused QKV and gate-up matrices; a window on every layer (which llama.cpp ignores in GGUF, so not there).
    Family("phi3", "Phi3", shape(original_max_position_embeddings=256) | rope(), {"MLP": {"weights": {"down_proj": 0}}},
           spell=phi3_published, dtype=BF16),
    Family("phi3_window", "Phi3", shape(sliding_window=20, original_max_position_embeddings=256) | rope(), {"window": {"sliding_window": None}},
           spell=phi3_published, gguf=False),
    # longrope beyond its original context (long factors, attention factor of the extension) and within it (short ones).
    Family("phi3_long", "Phi3", shape(original_max_position_embeddings=32) | rope(
        kind="longrope", long_factor=LONG, short_factor=SHORT, original_max_position_embeddings=32),
           {"long factors": rope(kind="longrope", long_factor=SHORT, short_factor=SHORT, original_max_position_embeddings=32),
            "attention factor": rope(kind="longrope", long_factor=LONG, short_factor=SHORT, attention_factor=1.0,
                                     original_max_position_embeddings=32)}, spell=phi3_published),
    Family("phi3_short", "Phi3", shape(max_position_embeddings=1024, original_max_position_embeddings=256) | rope(
        kind="longrope", long_factor=LONG, short_factor=SHORT, original_max_position_embeddings=256),
           {"short factors": rope(kind="longrope", long_factor=LONG, short_factor=[1.0] * 4, original_max_position_embeddings=256),
            "attention factor": rope(kind="longrope", long_factor=LONG, short_factor=SHORT, attention_factor=1.0,
                                     original_max_position_embeddings=256)}, spell=phi3_published),
    # As Phi-4-mini: three quarters of each head rotate, tied embeddings.
    Family("phi4_mini", "Phi3", shape(heads=2, kv_heads=1, original_max_position_embeddings=32, tie_word_embeddings=True) | rope(
        kind="longrope", long_factor=[1.0, 1.3, 1.6, 2.5, 4.0, 6.0], short_factor=[1.0, 1.0, 1.1, 1.2, 1.4, 1.5],
        partial_rotary_factor=0.75, original_max_position_embeddings=32),
           {"long factors": rope(kind="longrope", long_factor=[1.0] * 6, short_factor=[1.0] * 6, partial_rotary_factor=0.75,
                                 original_max_position_embeddings=32),
            "partial": rope(kind="longrope", long_factor=[1.0, 1.3, 1.6, 2.5, 4.0, 6.0, 6.0, 6.0], short_factor=[1.0] * 8,
                            partial_rotary_factor=1.0, original_max_position_embeddings=32)},
           spell=phi3_published, dtype=BF16, gains=TIED),

    # Every fourth layer without RoPE.
    Family("smollm3", "SmolLM3", shape(width=24, layers=4, heads=3, kv_heads=1, no_rope_layer_interval=4, tie_word_embeddings=True) | rope(5e6),
           {"layers without rope": {"no_rope_layers": [1, 1, 1, 1]}}, dtype=BF16, gains=TIED,
           spell=with_defaults_dropped("layer_types")),
    # Another choice of those layers, biases: in HF only.
    Family("smollm3_layers", "SmolLM3", shape(layers=3, no_rope_layers=[0, 1, 0], attention_bias=True, mlp_bias=True,
                                              tie_word_embeddings=False) | rope(),
           {"layers without rope": {"no_rope_layers": [1, 1, 1]}, "biases": {"weights": {"bias": 0}}}, gguf=False,
           spell=with_defaults_dropped("layer_types")),

    # Multipliers of the embedding, of every residual, of the scores; logits are divided.
    Family("granite", "Granite", shape(embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.6,
                                       logits_scaling=0.5, tie_word_embeddings=True) | rope(),
           {"embedding multiplier": {"embedding_multiplier": 1.0}, "residual multiplier": {"residual_multiplier": 1.0},
            "attention multiplier": {"attention_multiplier": 8**-0.5}, "logit scale": {"logits_scaling": 1.0}},
           dtype=BF16, gains={r"(o_proj|down_proj)\.weight": 8.0, "embed_tokens": 0.4}),
    # Granite 4 dense (micro, 350M, 1B): attention in all layers, "shared" MLP with gate and up fused, no experts.
    Family("granite4_dense", "GraniteMoeHybrid",
           shape(shared_intermediate_size=40, layer_types=["attention"] * 2, num_local_experts=0, num_experts_per_tok=0,
                 position_embedding_type="rope", embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.6,
                 logits_scaling=0.5, tie_word_embeddings=True, mamba_n_heads=8, mamba_d_state=8, mamba_d_head=8) | rope(),
           {"rope": {"position_embedding_type": None}, "residual multiplier": {"residual_multiplier": 1.0},
            "attention multiplier": {"attention_multiplier": 8**-0.5}},
           dtype=BF16, gains={r"(o_proj|output_linear)\.weight": 8.0, "embed_tokens": 0.4}, spell=granite_hybrid),

    # Norms only after the blocks; Q and K normalised over the whole width.
    Family("olmo2", "Olmo2", shape() | rope(500000.0),
           {"whole-width norms' weights": {"weights": {r"[qk]_norm": 1}}, "post-norms' weights": {"weights": {"post_.*norm": 1}}},
           gains={"[qk]_norm": (1.5, 0.5)}),
    # Three windowed layers to a full one; YaRN on the full one only.
    Family("olmo3", "Olmo3", shape(width=24, layers=4, heads=3, kv_heads=3, ffn=32, sliding_window=12, rope_parameters={
        FULL: {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 32, "beta_fast": 8.0,
               "beta_slow": 0.5, "attention_factor": 1.2079441541679836},
        LOCAL: {"rope_type": "default", "rope_theta": 500000.0}}),
           {"window": NO_WINDOW, "whole-width norms' weights": {"weights": {r"[qk]_norm": 1}},
            "yarn": {"rope_parameters": {kind: {"rope_type": "default", "rope_theta": 500000.0} for kind in (FULL, LOCAL)}},
            "plain rope in windows": {"rope_parameters": {kind: {
                "rope_type": "yarn", "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 32, "beta_fast": 8.0,
                "beta_slow": 0.5, "attention_factor": 1.2079441541679836} for kind in (FULL, LOCAL)}}},
           dtype=BF16, gains={"[qk]_norm": (1.5, 0.5)}),

    # Half of each head rotates in neighbouring pairs; norms before and after; gate and up fused; biases of Q, K, V.
    Family("glm4", "Glm4", shape(heads=2, kv_heads=1, head_dim=16, attention_bias=True, pad_token_id=0) | rope(partial_rotary_factor=0.5),
           {"biases": {"weights": {"bias": 0}}, "post-norms' weights": {"weights": {r"post_(self_attn|mlp)": 1}},
            "half of the head": rope(partial_rotary_factor=1.0)}, dtype=BF16),

    # Sinks, windows on every second layer, routed experts in MXFP4 with biases, clamped SwiGLU, YaRN without rounding.
    Family("gpt_oss", "GptOss", shape(layers=3, ffn=32, heads=2, kv_heads=1, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=12) | rope(
        150000.0, kind="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=8.0, beta_slow=0.5, truncate=False),
           {"sinks": {"weights": {"sinks": -1e9}}, "window": NO_WINDOW, "router bias": {"weights": {r"router\.bias": 0}},
            "expert biases": {"weights": {r"experts.*bias": 0}}, "attention biases": {"weights": {r"self_attn.*bias": 0}},
            "clamp": {"swiglu_limit": 1e9}, "alpha": {"swiglu_alpha": 1.0},
            "unrounded yarn": rope(150000.0, kind="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=8.0,
                                   beta_slow=0.5, truncate=True)},
           dtype=BF16, spell=mxfp4_config, round=round_experts, pack=pack_experts,
           gains={r"experts\.gate_up_proj$": 4.0, r"experts\.down_proj$": 0.25, r"experts\.gate_up_proj_bias": 1.0}),
    Family("gpt_oss_bf16", "GptOss", shape(layers=2, ffn=24, heads=2, kv_heads=1, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=12) | rope(
        150000.0, kind="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=8.0, beta_slow=0.5, truncate=False),
           {"sinks": {"weights": {"sinks": -1e9}}, "window": NO_WINDOW, "clamp": {"swiglu_limit": 1e9}},
           dtype=BF16, gains={r"experts\.gate_up_proj$": 4.0, r"experts\.down_proj$": 0.25, r"experts\.gate_up_proj_bias": 1.0}),

    # RoPE scalings on a Llama. "linear" and "llama3" are among the fixtures of make_model_fixtures.py.
    llama("rope_linear_old", dict(kind="linear", factor=4.0), {"scaling": rope_off()}, spell=old_rope_type),
    llama("rope_yarn", dict(YARN), {"scaling": rope_off(), "attention factor": rope(**YARN, attention_factor=1.0)}),
    llama("rope_yarn_factor", dict(YARN, attention_factor=1.6),
          {"attention factor": rope(**YARN)}, spell=None),
    llama("rope_yarn_mscale", dict(YARN, mscale=2.5, mscale_all_dim=0.5), {"mscale": rope(**YARN)}, spell=old_rope_type, gguf=False),
    llama("rope_longrope", dict(kind="longrope", long_factor=LONG, short_factor=SHORT, factor=8.0, original_max_position_embeddings=32),
          {"long factors": rope(kind="longrope", long_factor=SHORT, short_factor=SHORT, factor=8.0, original_max_position_embeddings=32)},
          gguf=False),
    # Beyond max_position_embeddings every step turns with the base of the length so far; cached keys keep theirs.
    Family("rope_dynamic", "Llama", shape(max_position_embeddings=40) | rope(kind="dynamic", factor=2.0), {"scaling": rope_off()},
           gguf=False),
]
