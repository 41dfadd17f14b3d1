"""Write a checkpoint as GGUF (matrices Q8_0, norms F32) and check the file against transformers."""
import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from tokenizers import Tokenizer

import tokenizer as bpe
from model import Config, Llama


def write_gguf(model, tokenizer, path, name="thinkey-needle"):
    """Write the model and its tokenizer to one GGUF file, readable by llama.cpp as architecture "llama"."""
    c = model.config
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name(name)
    w.add_description("Small retrieval model: finds passkeys and needles in long prompts. Test bed, no assistant.")
    w.add_license("apache-2.0")
    w.add_context_length(c.context)
    w.add_embedding_length(c.width)
    w.add_block_count(c.layers)
    w.add_feed_forward_length(c.hidden)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.kv_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_rope_dimension_count(c.head_dim)
    w.add_rope_freq_base(c.rope_base)
    w.add_layer_norm_rms_eps(c.norm_eps)
    w.add_vocab_size(c.vocab)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    vocabulary = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].get)
    types = [gguf.TokenType.CONTROL if t in bpe.SPECIALS else gguf.TokenType.NORMAL for t in tokens]
    merges = [m if isinstance(m, str) else " ".join(m) for m in vocabulary["merges"]]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(bpe.BOS)
    w.add_eos_token_id(bpe.IM_END)
    w.add_pad_token_id(bpe.BOS)
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(False)
    w.add_chat_template(bpe.CHAT_TEMPLATE)
    for key, value in model.state_dict().items():
        array = value.float().numpy()
        if array.ndim == 2:
            packed = gguf.quants.quantize(array, Kind.Q8_0)
            w.add_tensor(key, packed, raw_dtype=Kind.Q8_0)
        else:
            w.add_tensor(key, array)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_gguf(path):
    """The model with the dequantized weights of a GGUF file, and its tokenizer rebuilt from the file's metadata."""
    reader = gguf.GGUFReader(str(path))

    def field(key):
        return reader.fields[key].contents()

    config = Config(
        vocab=field("llama.vocab_size"), layers=field("llama.block_count"), width=field("llama.embedding_length"),
        heads=field("llama.attention.head_count"), kv_heads=field("llama.attention.head_count_kv"),
        head_dim=field("llama.attention.key_length"), hidden=field("llama.feed_forward_length"),
        rope_base=field("llama.rope.freq_base"), norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        context=field("llama.context_length"))
    model = Llama(config)
    state = {t.name: torch.from_numpy(np.array(gguf.quants.dequantize(t.data, t.tensor_type))) for t in reader.tensors}
    model.load_state_dict(state)
    spec = json.loads(bpe.blank().to_str())
    tokens = field("tokenizer.ggml.tokens")
    spec["model"]["vocab"] = {t: i for i, t in enumerate(tokens)}
    spec["model"]["merges"] = [m.split(" ") for m in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_special_tokens(bpe.SPECIALS)
    return model.eval(), tokenizer


def transformers_logits(model, ids):
    """Logits of transformers' own Llama with our weights; its RoPE pairs channel i with i + D/2."""
    from transformers import LlamaConfig, LlamaForCausalLM
    c = model.config
    theirs = LlamaForCausalLM(LlamaConfig(
        vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.hidden, num_hidden_layers=c.layers,
        num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, head_dim=c.head_dim, rms_norm_eps=c.norm_eps,
        max_position_embeddings=c.context, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_base})).eval()

    def halves(matrix, heads):  # interleaved pairs -> first and second half of each head
        return matrix.view(heads, c.head_dim // 2, 2, -1).transpose(1, 2).reshape(matrix.shape)

    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for key, value in model.state_dict().items():
        if key.startswith("blk."):
            _, layer, kind, _ = key.split(".")
            if kind in ("attn_q", "attn_k"):
                value = halves(value, c.heads if kind == "attn_q" else c.kv_heads)
            state[f"model.layers.{layer}.{names[kind]}.weight"] = value
    state["model.embed_tokens.weight"] = state["lm_head.weight"] = model.token_embd.weight
    state["model.norm.weight"] = model.output_norm.weight
    theirs.load_state_dict(state)
    with torch.no_grad():
        return theirs(ids).logits


def verify(path):
    """Largest logit difference between this code and transformers, both with the file's weights."""
    model, tokenizer = read_gguf(path)
    text = "<|endoftext|><|im_start|>user\nThe passkey for Lisbon is 48213. " + "The road was long and dusty. " * 60
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.no_grad():
        return (model(ids) - transformers_logits(model, ids)).abs().max().item()


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("gguf", type=Path)
    args = parser.parse_args()
    state = torch.load(args.checkpoint)
    model = Llama(Config(**state["config"]))
    model.load_state_dict(state["model"])
    write_gguf(model, Tokenizer.from_file(str(args.tokenizer)), args.gguf)
    print(f"{args.gguf}: {args.gguf.stat().st_size} bytes, largest difference to transformers {verify(args.gguf):.2e}")


if __name__ == "__main__":
    main()
