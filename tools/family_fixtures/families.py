"""The model families as data: what each tiny checkpoint exercises, and what its features are without it."""
import torch

from .family import Family, rope, ropes, shape
from .mxfp4 import pack_experts, round_experts
from .spelling import (gemma3_published, granite_hybrid, mxfp4_config, nested_tensors, nested_text, old_rope_type,
                       phi3_published, without)

BF16 = torch.bfloat16
FULL, LOCAL = "full_attention", "sliding_attention"
NO_WINDOW = {"sliding_window": 4096}
TWO_HEADS = dict(heads=2, kv_heads=1, head_dim=16)
TIED = {r"(o_proj|down_proj)\.weight": 4.0}  # or the likeliest token were always the last one again
# Each branch's size is that of its last norm; the embedding is as large as sqrt(width).
POST_NORMS = {r"post_(attention|feedforward)_layernorm": (2.5, 0.6), "norm": (0.2, 0.4), "embed_tokens": 0.3}
HEAD_NORMS = {"[qk]_norm": (1.5, 0.5)}

# YaRN with both ends of the ramp inside the frequencies of a tiny head.
YARN = dict(kind="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=8.0, beta_slow=0.5)
MINISTRAL = YARN | dict(theta=1e6, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.4)
GPT_OSS = YARN | dict(theta=150000.0, truncate=False)
OLMO3_FULL = rope(500000.0, **YARN, attention_factor=1.2079441541679836)
LONG, SHORT = [1.0, 1.6, 2.5, 6.0], [1.1, 1.3, 1.8, 2.2]
LONGROPE = dict(kind="longrope", long_factor=LONG, short_factor=SHORT)
PHI4_LONG, PHI4_SHORT = [1.0, 1.3, 1.6, 2.5, 4.0, 6.0], [1.0, 1.0, 1.1, 1.2, 1.4, 1.5]
WITHIN_32 = dict(original_max_position_embeddings=32)
WITHIN_256 = dict(original_max_position_embeddings=256)

GRANITE = dict(embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.6, logits_scaling=0.5,
               tie_word_embeddings=True)
EXPERT_GAINS = {r"experts\.gate_up_proj$": 4.0, r"experts\.down_proj$": 0.25, r"experts\.gate_up_proj_bias": 1.0}

FAMILIES = [
    # Biases of all seven projections; those of Q and K are permuted with their rows in GGUF.
    Family("llama_bias", "Llama", shape(attention_bias=True, mlp_bias=True) | rope(),
           {"attention biases": {"weights": {r"self_attn.*bias": 0}}, "MLP biases": {"weights": {r"mlp.*bias": 0}}}),

    # YaRN with mscale = mscale_all_dim (attention factor 1), queries scaled by 1 + beta ln(1 + position / original).
    Family("ministral3", "Ministral3", shape(**TWO_HEADS) | rope(**MINISTRAL),
           {"query scale": rope(**MINISTRAL | {"llama_4_scaling_beta": 0.0}), "yarn": rope(**MINISTRAL | {"factor": 1.0})},
           dtype=BF16, spell=None),
    # The same inside a multimodal checkpoint, as Ministral 3 ships.
    Family("ministral3_nested", "Ministral3", shape(**TWO_HEADS) | rope(**MINISTRAL),
           {"query scale": rope(**MINISTRAL | {"llama_4_scaling_beta": 0.0})},
           dtype=BF16, gguf=False, spell=nested_text("Mistral3ForConditionalGeneration", "mistral3"),
           pack=nested_tensors, reread=False),

    # Biases of Q, K and V only, as every Qwen2 and Qwen2.5 has them.
    Family("qwen2", "Qwen2", shape() | rope(1e6), {"biases": {"weights": {"bias": 0}}},
           dtype=BF16, spell=without("layer_types")),
    # A window from layer max_window_layers on. GGUF has no key for it.
    Family("qwen2_window", "Qwen2",
           shape(layers=3, use_sliding_window=True, sliding_window=12, max_window_layers=1) | rope(),
           {"window": {"use_sliding_window": False}, "layers without it": {"max_window_layers": 0}},
           gguf=False, spell=without("layer_types")),
    # Q and K are normalised per head; heads wider than width / heads.
    Family("qwen3", "Qwen3", shape(head_dim=16, tie_word_embeddings=True) | rope(1e6),
           {"head norms' weights": {"weights": {r"[qk]_norm": 1}}},
           dtype=BF16, gains=TIED | HEAD_NORMS, spell=without("layer_types")),
    # All layers of experts, weights of the chosen ones normed: what GGUF's qwen3moe means.
    Family("qwen3_moe", "Qwen3Moe",
           shape(ffn=48, head_dim=8, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=8, norm_topk_prob=True)
           | rope(1e6),
           {"norm of chosen": {"norm_topk_prob": False}, "second expert": {"num_experts_per_tok": 1},
            "head norms' weights": {"weights": {r"[qk]_norm": 1}}}, dtype=BF16),
    # Experts in layer 1 only: every second layer, less those named. Not normed.
    Family("qwen3_moe_mixed", "Qwen3Moe",
           shape(layers=4, ffn=24, head_dim=8, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=8,
                 norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[3]) | rope(),
           {"unnormed weights": {"norm_topk_prob": True}, "third expert": {"num_experts_per_tok": 2}}, gguf=False),

    # Soft-caps on scores and logits, every second layer windowed, norms before and after each block as 1 + w, GeGLU.
    Family("gemma2", "Gemma2",
           shape(layers=4, ffn=24, **TWO_HEADS, query_pre_attn_scalar=16, sliding_window=12,
                 attn_logit_softcapping=3.0, final_logit_softcapping=8.0) | rope(),
           {"score cap": {"attn_logit_softcapping": None}, "logit cap": {"final_logit_softcapping": None},
            "window": NO_WINDOW, "post-norms' weights": {"weights": {"post_.*norm": 1.5}}},
           dtype=BF16, gains=POST_NORMS, spell=without("layer_types")),
    # A query scale that is not the head's; GGUF's gemma2 can't say it.
    Family("gemma2_scalar", "Gemma2",
           shape(**TWO_HEADS, query_pre_attn_scalar=5, sliding_window=12, attn_logit_softcapping=20.0,
                 final_logit_softcapping=None) | rope(),
           {"query scale": {"query_pre_attn_scalar": 16}}, gains=POST_NORMS, gguf=False, spell=without("layer_types")),
    # Five local layers to one global, each kind with its own RoPE; the global one's positions are stretched.
    Family("gemma3", "Gemma3",
           shape(width=24, layers=6, ffn=24, **TWO_HEADS, query_pre_attn_scalar=16, sliding_window=12)
           | ropes(rope(100.0, "linear", factor=8.0), rope(10000.0)),
           {"window": NO_WINDOW, "head norms' weights": {"weights": {r"[qk]_norm": 0}},
            "stretch": ropes(rope(100.0), rope(10000.0)),
            "local theta": ropes(rope(100.0, "linear", factor=8.0), rope(100.0))},
           dtype=BF16, gains=POST_NORMS, config_class="Gemma3Text", spell=gemma3_published),
    # The same family as transformers 5 spells it, another pattern, a query scale of its own, capped logits.
    Family("gemma3_modern", "Gemma3",
           shape(layers=3, ffn=24, **TWO_HEADS, query_pre_attn_scalar=6, sliding_window=10,
                 layer_types=[LOCAL, FULL, LOCAL], final_logit_softcapping=8.0) | ropes(rope(1e6), rope(100.0)),
           {"window": NO_WINDOW, "query scale": {"query_pre_attn_scalar": 16},
            "logit cap": {"final_logit_softcapping": None}, "pattern": {"layer_types": [LOCAL, LOCAL, FULL]}},
           gains=POST_NORMS, config_class="Gemma3Text", spell=None, gguf=False),
    # Text inside a multimodal checkpoint, as Gemma 3 4B and larger ship: nested config, prefixed tensors.
    Family("gemma3_nested", "Gemma3",
           shape(ffn=24, **TWO_HEADS, query_pre_attn_scalar=16, sliding_window=10, layer_types=[LOCAL, FULL])
           | ropes(rope(100.0, "linear", factor=8.0), rope(10000.0)),
           {"window": NO_WINDOW}, gains=POST_NORMS, config_class="Gemma3Text", gguf=False,
           spell=nested_text("Gemma3ForConditionalGeneration", "gemma3"), pack=nested_tensors, reread=False),

    # Fused QKV and gate-up matrices.
    Family("phi3", "Phi3", shape(**WITHIN_256) | rope(), {"MLP": {"weights": {"down_proj": 0}}},
           spell=phi3_published, dtype=BF16),
    # A window on every layer. GGUF's key for it is not honoured by llama.cpp.
    Family("phi3_window", "Phi3", shape(sliding_window=20, **WITHIN_256) | rope(),
           {"window": {"sliding_window": None}}, spell=phi3_published, gguf=False),
    # longrope beyond its original context (long factors, attention factor of the extension) and within it (short ones).
    Family("phi3_long", "Phi3", shape(**WITHIN_32) | rope(**LONGROPE, **WITHIN_32),
           {"long factors": rope(**LONGROPE | {"long_factor": SHORT}, **WITHIN_32),
            "attention factor": rope(**LONGROPE, attention_factor=1.0, **WITHIN_32)}, spell=phi3_published),
    Family("phi3_short", "Phi3", shape(max_position_embeddings=1024, **WITHIN_256) | rope(**LONGROPE, **WITHIN_256),
           {"short factors": rope(**LONGROPE | {"short_factor": [1.0] * 4}, **WITHIN_256),
            "attention factor": rope(**LONGROPE, attention_factor=1.0, **WITHIN_256)}, spell=phi3_published),
    # As Phi-4-mini: three quarters of each head rotate, tied embeddings.
    Family("phi4_mini", "Phi3", shape(heads=2, kv_heads=1, tie_word_embeddings=True, **WITHIN_32) | rope(
        kind="longrope", long_factor=PHI4_LONG, short_factor=PHI4_SHORT, partial_rotary_factor=0.75, **WITHIN_32),
           {"long factors": rope(kind="longrope", long_factor=[1.0] * 6, short_factor=[1.0] * 6,
                                 partial_rotary_factor=0.75, **WITHIN_32),
            "partial": rope(kind="longrope", long_factor=PHI4_LONG + [6.0, 6.0], short_factor=[1.0] * 8,
                            partial_rotary_factor=1.0, **WITHIN_32)},
           spell=phi3_published, dtype=BF16, gains=TIED),

    # Every fourth layer without RoPE.
    Family("smollm3", "SmolLM3",
           shape(width=24, layers=4, heads=3, kv_heads=1, no_rope_layer_interval=4, tie_word_embeddings=True) | rope(5e6),
           {"layers without rope": {"no_rope_layers": [1, 1, 1, 1]}}, dtype=BF16, gains=TIED,
           spell=without("layer_types")),
    # Another choice of those layers, and biases. GGUF can say neither.
    Family("smollm3_layers", "SmolLM3",
           shape(layers=3, no_rope_layers=[0, 1, 0], attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
           | rope(),
           {"layers without rope": {"no_rope_layers": [1, 1, 1]}, "biases": {"weights": {"bias": 0}}},
           gguf=False, spell=without("layer_types")),

    # Multipliers of the embedding, of every residual, of the scores; logits are divided.
    Family("granite", "Granite", shape(**GRANITE) | rope(),
           {"embedding multiplier": {"embedding_multiplier": 1.0}, "residual multiplier": {"residual_multiplier": 1.0},
            "attention multiplier": {"attention_multiplier": 8**-0.5}, "logit scale": {"logits_scaling": 1.0}},
           dtype=BF16, gains={r"(o_proj|down_proj)\.weight": 8.0, "embed_tokens": 0.4}),
    # Granite 4 dense (micro, 350M, 1B): attention in all layers, "shared" MLP with gate and up fused, no experts.
    Family("granite4_dense", "GraniteMoeHybrid",
           shape(**GRANITE, shared_intermediate_size=40, layer_types=["attention"] * 2, num_local_experts=0,
                 num_experts_per_tok=0, position_embedding_type="rope", mamba_n_heads=8, mamba_d_state=8,
                 mamba_d_head=8) | rope(),
           {"rope": {"position_embedding_type": None}, "residual multiplier": {"residual_multiplier": 1.0},
            "attention multiplier": {"attention_multiplier": 8**-0.5}},
           dtype=BF16, gains={r"(o_proj|output_linear)\.weight": 8.0, "embed_tokens": 0.4}, spell=granite_hybrid),

    # Norms only after the blocks; Q and K normalised over the whole width.
    Family("olmo2", "Olmo2", shape() | rope(500000.0),
           {"whole-width norms' weights": {"weights": {r"[qk]_norm": 1}},
            "post-norms' weights": {"weights": {"post_.*norm": 1}}}, gains=HEAD_NORMS),
    # Three windowed layers to a full one; YaRN on the full one only.
    Family("olmo3", "Olmo3",
           shape(width=24, layers=4, heads=3, kv_heads=3, ffn=32, sliding_window=12) | ropes(OLMO3_FULL, rope(500000.0)),
           {"window": NO_WINDOW, "whole-width norms' weights": {"weights": {r"[qk]_norm": 1}},
            "yarn": ropes(rope(500000.0), rope(500000.0)), "plain rope in windows": ropes(OLMO3_FULL, OLMO3_FULL)},
           dtype=BF16, gains=HEAD_NORMS),

    # Half of each head rotates in neighbouring pairs; norms before and after; gate and up fused; biases of Q, K, V.
    Family("glm4", "Glm4", shape(**TWO_HEADS, attention_bias=True, pad_token_id=0) | rope(partial_rotary_factor=0.5),
           {"biases": {"weights": {"bias": 0}}, "post-norms' weights": {"weights": {r"post_(self_attn|mlp)": 1}},
            "half of the head": rope(partial_rotary_factor=1.0)}, dtype=BF16),

    # Sinks, windows on every second layer, routed experts with biases, clamped SwiGLU, all in MXFP4; YaRN whose ramp
    # has unrounded ends. GGUF has no key for that: architecture gpt-oss means it (llama.cpp rounds, and differs).
    Family("gpt_oss", "GptOss",
           shape(layers=3, ffn=32, **TWO_HEADS, num_local_experts=4, num_experts_per_tok=2, sliding_window=12)
           | rope(**GPT_OSS),
           {"sinks": {"weights": {"sinks": -1e9}}, "window": NO_WINDOW, "router bias": {"weights": {r"router\.bias": 0}},
            "expert biases": {"weights": {r"experts.*bias": 0}}, "attention biases": {"weights": {r"self_attn.*bias": 0}},
            "clamp": {"swiglu_limit": 1e9}, "alpha": {"swiglu_alpha": 1.0},
            "unrounded yarn": rope(**GPT_OSS | {"truncate": True})},
           dtype=BF16, gains=EXPERT_GAINS, spell=mxfp4_config, round=round_experts, pack=pack_experts),
    # The same with experts in BF16, and heads wider than width / heads.
    Family("gpt_oss_bf16", "GptOss",
           shape(ffn=16, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=12) | rope(**GPT_OSS),
           {"sinks": {"weights": {"sinks": -1e9}}, "window": NO_WINDOW, "clamp": {"swiglu_limit": 1e9}},
           dtype=BF16, gains=EXPERT_GAINS),

    # RoPE scalings on a Llama. "linear" and "llama3" are among the fixtures of make_model_fixtures.py.
    Family("rope_linear_old", "Llama", shape() | rope(kind="linear", factor=4.0), {"scaling": rope()},
           spell=old_rope_type),
    # llama.cpp reads both betas of the ramp for few architectures; the file has them for all.
    Family("rope_yarn", "Llama", shape() | rope(**YARN),
           {"scaling": rope(), "attention factor": rope(**YARN, attention_factor=1.0)}),
    # The GGUF twin has the factor as rope.scaling.yarn_attn_factor, which llama.cpp does not read here.
    Family("rope_yarn_factor", "Llama", shape() | rope(**YARN, attention_factor=1.6),
           {"attention factor": rope(**YARN)}, spell=None),
    Family("rope_yarn_mscale", "Llama", shape() | rope(**YARN, mscale=2.5, mscale_all_dim=0.5),
           {"mscale": rope(**YARN)}, spell=old_rope_type, gguf=False),
    Family("rope_longrope", "Llama", shape() | rope(**LONGROPE, factor=8.0, **WITHIN_32),
           {"long factors": rope(**LONGROPE | {"long_factor": SHORT}, factor=8.0, **WITHIN_32)}, gguf=False),
    # Beyond max_position_embeddings every step turns with the base of the length so far; cached keys keep theirs.
    Family("rope_dynamic", "Llama", shape(max_position_embeddings=40) | rope(kind="dynamic", factor=2.0),
           {"scaling": rope()}, gguf=False),
]
