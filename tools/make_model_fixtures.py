"""Make the tiny random checkpoints of tests/fixtures/model, with what transformers computes from them.

Every model is written as <name>/ (a Hugging Face directory) and <name>.gguf (Q and K rows permuted as llama.cpp's
converter does), beside <name>.expected.safetensors: `ids` [T], `logits` [T, V] of transformers in f32 with eager
attention, and `greedy`, the 64 tokens that follow. The weights are those of the saved precision.

Usage: make_model_fixtures.py [OUTPUT]      needs torch, transformers, safetensors and gguf
"""
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

VOCABULARY = 96
PROMPT = 107  # a multiple of no tile size
GREEDY = 64
CONTEXT = 256
LEAST_MARGIN = 0.05  # between the two likeliest tokens of every greedy step: 16-bit caches must not flip one
LEAST_VARIETY = 12   # distinct tokens in the continuation


@dataclass
class Fixture:
    name: str
    width: int = 32
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 48
    head_dim: int | None = None          # None: width / heads
    theta: float = 10000.0
    scaling: dict | None = None          # as in config.json's rope_scaling
    tied: bool = False
    window: int | None = None            # a Mistral model's sliding window
    mistral: bool = False
    dtype: torch.dtype = torch.float16
    modern_config: bool = False          # config.json as transformers 5 writes it (rope_parameters)
    containers: tuple = ("hf", "gguf")
    quantized: dict = field(default_factory=dict)  # GGUF type by kind of tensor
    tokenizer: bool = False

    @property
    def dim(self):
        return self.head_dim or self.width // self.heads


LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FIXTURES = [
    Fixture("llama2", kv_heads=4, tokenizer=True),
    Fixture("llama31", heads=2, kv_heads=1, head_dim=16, theta=500000.0,
            scaling=LLAMA3 | {"factor": 8.0, "original_max_position_embeddings": 64}),
    Fixture("llama32", theta=500000.0, tied=True, dtype=torch.bfloat16,
            scaling=LLAMA3 | {"factor": 32.0, "original_max_position_embeddings": 192}),
    Fixture("eight_to_one", heads=8, kv_heads=1, head_dim=8),
    Fixture("smollm2", width=48, heads=6, kv_heads=2, ffn=32, theta=100000.0, tied=True),
    Fixture("linear", width=24, heads=3, kv_heads=3, ffn=32, scaling={"rope_type": "linear", "factor": 4.0},
            dtype=torch.float32, modern_config=True),
    Fixture("head_dim_24", heads=2, kv_heads=1, head_dim=24),
    Fixture("head_dim_40", layers=3, heads=2, kv_heads=2, head_dim=40, ffn=32, containers=("gguf",)),
    Fixture("mistral_v01", mistral=True, window=24),
    Fixture("mistral_v03", mistral=True, theta=1e6),
    Fixture("quantized", kv_heads=4, ffn=64, containers=("gguf",), dtype=torch.float32, quantized={
        "token_embd": Kind.Q8_0, "output": Kind.F16, "attn_q": Kind.Q8_0, "attn_k": Kind.Q4_0, "attn_v": Kind.Q5_0,
        "attn_output": Kind.Q5_1, "ffn_gate": Kind.Q4_1, "ffn_up": Kind.BF16, "ffn_down": Kind.F32}),
]

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    """model.layers.0.self_attn.q_proj.weight -> blk.0.attn_q.weight."""
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}
    if name in top:
        return top[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def kind_of(name):
    return name.removesuffix(".weight").rsplit(".", 1)[-1]


def build(f, seed):
    """A model with random weights, rounded to what will be saved; large enough that logits differ clearly."""
    rope = {"rope_type": "default"} | (f.scaling or {}) | {"rope_theta": f.theta}
    common = dict(vocab_size=VOCABULARY, hidden_size=f.width, intermediate_size=f.ffn, num_hidden_layers=f.layers,
                  num_attention_heads=f.heads, num_key_value_heads=f.kv_heads, head_dim=f.dim, rms_norm_eps=1e-5,
                  max_position_embeddings=CONTEXT, rope_parameters=rope, tie_word_embeddings=f.tied,
                  attn_implementation="eager", bos_token_id=1, eos_token_id=2)
    if f.mistral:
        model = MistralForCausalLM(MistralConfig(sliding_window=f.window, **common))
    else:
        model = LlamaForCausalLM(LlamaConfig(**common))
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 1:
            weight = 1 + 0.2 * noise
        elif name in ("model.embed_tokens.weight", "lm_head.weight"):
            weight = 0.6 * noise
        else:
            gain = 1.8 if "q_proj" in name or "k_proj" in name else 1.0
            if f.tied and ("o_proj" in name or "down_proj" in name):
                gain = 4.0  # or the likeliest token were always the last one again
            weight = noise * gain / value.shape[1] ** 0.5
        state[name] = round_weight(f, gguf_name(name), weight)
    if f.tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model.float().eval()


def round_weight(f, name, weight):
    if f.quantized:
        kind = Kind.F32 if weight.ndim == 1 else f.quantized[kind_of(name)]
        array = weight.numpy()
        if kind_of(name) in ("attn_q", "attn_k"):  # blocks run along a row, so permuted rows quantize alike
            heads = f.heads if kind_of(name) == "attn_q" else f.kv_heads
            permuted = gguf.quants.quantize(permute(array, heads), kind)
            return torch.from_numpy(unpermute(gguf.quants.dequantize(permuted, kind), heads).copy())
        return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(array, kind), kind).copy())
    return weight.to(f.dtype).float()


def permute(array, heads):
    """Rows of Q or K from pairs (i, i + D/2) to pairs (2i, 2i+1)."""
    half = array.shape[0] // heads // 2
    return array.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(array.shape)


def unpermute(array, heads):
    half = array.shape[0] // heads // 2
    return array.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(array.shape)


def expected(model, seed):
    """Prompt, logits and greedy continuation, or None when the continuation hangs by a thread."""
    generator = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(3, VOCABULARY, (1, PROMPT), generator=generator)
    ids[0, 0] = 1
    with torch.no_grad():
        step = model(ids, use_cache=True)
        logits = step.logits[0]
        tokens = ids
        for _ in range(GREEDY):
            best = step.logits[0, -1].topk(2)
            if best.values[0] - best.values[1] < LEAST_MARGIN:
                return None
            tokens = torch.cat([tokens, best.indices[:1].view(1, 1)], dim=1)
            step = model(tokens[:, -1:], past_key_values=step.past_key_values, use_cache=True)
    greedy = tokens[0, PROMPT:]
    if len(set(greedy.tolist())) < LEAST_VARIETY:
        return None
    return {"ids": ids[0].numpy().astype(np.int32), "logits": logits.numpy().astype(np.float32),
            "greedy": greedy.numpy().astype(np.int32)}


def write_hf(f, model, directory):
    model.to(f.dtype).save_pretrained(directory)
    model.float()
    (directory / "generation_config.json").unlink(missing_ok=True)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    if not f.modern_config:  # as the published checkpoints have it
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        config["torch_dtype"] = config.pop("dtype")
        if f.head_dim is None:
            config.pop("head_dim")
    path.write_text(json.dumps(config, indent=1) + "\n")


def llama3_divisors(f):
    """rope_freqs.weight: what llama3 scaling divides each frequency by."""
    s = f.scaling
    out = []
    for i in range(f.dim // 2):
        wavelength = 2 * np.pi * f.theta ** (2 * i / f.dim)
        original = s["original_max_position_embeddings"]
        low, high = original / s["low_freq_factor"], original / s["high_freq_factor"]
        if wavelength < high:
            out.append(1.0)
        elif wavelength > low:
            out.append(s["factor"])
        else:
            smooth = (original / wavelength - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
            out.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def write_gguf(f, model, path, greedy):
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name(f.name)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(f.width)
    w.add_block_count(f.layers)
    w.add_feed_forward_length(f.ffn)
    w.add_head_count(f.heads)
    w.add_head_count_kv(f.kv_heads)
    w.add_rope_dimension_count(f.dim)
    if f.head_dim is not None:
        w.add_key_length(f.dim)
        w.add_value_length(f.dim)
    w.add_rope_freq_base(f.theta)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(VOCABULARY)
    if f.window:
        w.add_sliding_window(f.window)
    if f.scaling and f.scaling["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(f.scaling["factor"])
    if f.tokenizer:
        add_tokenizer(w, greedy)
    else:
        w.add_tokenizer_model("none")
    if f.scaling and f.scaling["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(f))
    for name, value in model.state_dict().items():
        name = gguf_name(name)
        if name == "output.weight" and f.tied:
            continue
        array = value.float().numpy()
        kind = kind_of(name)
        if kind in ("attn_q", "attn_k"):
            array = permute(array, f.heads if kind == "attn_q" else f.kv_heads)
        if array.ndim == 1:
            w.add_tensor(name, array)
            continue
        saved = {torch.float32: Kind.F32, torch.float16: Kind.F16, torch.bfloat16: Kind.BF16}[f.dtype]
        saved = f.quantized.get(kind, saved)
        packed = gguf.quants.quantize(array, saved)
        if not np.array_equal(gguf.quants.dequantize(packed, saved), array):
            raise SystemExit(f"{f.name}: {name} is not exactly representable as {saved.name}")
        w.add_tensor(name, packed, raw_dtype=saved)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def add_tokenizer(w, greedy):
    """One character per token; the end-of-turn token is the first new one after 20 greedy steps."""
    characters = "\u2581" + "".join(chr(c) for c in range(33, 127))
    tokens = (["<unk>", "<s>", "</s>"] + list(characters))[:VOCABULARY]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([-float(i) for i in range(len(tokens))])
    w.add_token_types(kinds + [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds)))
    w.add_bos_token_id(1)
    # The greedy continuation must meet no end token before the end of turn.
    w.add_eos_token_id(next(i for i in reversed(range(VOCABULARY)) if i not in greedy))
    w.add_eot_token_id(int(next(t for i, t in enumerate(greedy) if i >= 20 and t not in greedy[:i])))


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/fixtures/model"
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for f in FIXTURES:
        for seed in range(300):
            model = build(f, seed)
            result = expected(model, seed)
            if result is not None and not (f.tokenizer and len(set(result["greedy"][:20])) == len(set(result["greedy"]))):
                break
        else:
            raise SystemExit(f"{f.name}: no seed gives a healthy continuation")
        save_file(result, out / f"{f.name}.expected.safetensors")
        (out / f"{f.name}.expected.safetensors").chmod(0o644)
        if "hf" in f.containers:
            write_hf(f, model, out / f.name)
        if "gguf" in f.containers:
            write_gguf(f, model, out / f"{f.name}.gguf", result["greedy"])
        size = sum(p.stat().st_size for p in out.glob(f"{f.name}*/*")) + sum(
            p.stat().st_size for p in out.glob(f"{f.name}.*"))
        print(f"{f.name}: seed {seed}, {size} bytes, logits up to {np.abs(result['logits']).max():.1f}, "
              f"{len(set(result['greedy'].tolist()))} distinct greedy tokens")


if __name__ == "__main__":
    main()
