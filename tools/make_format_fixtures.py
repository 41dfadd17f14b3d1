#!/usr/bin/env python3
"""Makes tests/fixtures/formats: tiny models as GGUF files and Hugging Face directories.

Needs numpy, gguf, torch, transformers, tokenizers and safetensors. Everything is seeded; what the
tests compare with (hyperparameters, tensor bytes, tokenizer tables, RoPE frequencies) is written to
expected.json next to the files.

    tools/make_format_fixtures.py tests/fixtures/formats
"""

import argparse
import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import load_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"


def fnv1a(data: bytes) -> str:
    """64-bit FNV-1a, simple enough to repeat in a test."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def spm_vocabulary():
    tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "<0x41>", "\u2581"] + list("abcdefgh")
    tokens += ["\u2581a", "ab", "\u2581ab", "cd", "abcd", "ef", "gh", "efgh", "<|im_end|>", "<extra>"]
    tokens += [f"x{i}" for i in range(40 - len(tokens))]
    types = [2, 3, 3, 6, 6] + [1] * 35
    types[tokens.index("<|im_end|>")] = 3
    types[tokens.index("<extra>")] = 4
    scores = [0.0] * 5 + [-float(i) / 4 for i in range(35)]
    return tokens, types, scores


def bpe_vocabulary():
    letters = list("abcdefgh") + ["\u0120", "!", "0", "1"]
    merges = ["a b", "c d", "\u0120 a", "ab cd", "\u0120 ab", "e f"]
    tokens = letters + [m.replace(" ", "") for m in merges]
    tokens += ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<tool>"]
    tokens += [f"pad{i}" for i in range(32 - len(tokens))]
    types = [1] * 32
    for piece in ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"):
        types[tokens.index(piece)] = 3
    types[tokens.index("<tool>")] = 4
    return tokens, types, merges


class GgufFixture:
    """A GGUFWriter that remembers its tensors for expected.json."""

    def __init__(self, path, seed, layers, width, heads, kv_heads, head_dim, ffn, vocabulary):
        self.path, self.rng = path, np.random.default_rng(seed)
        self.writer = gguf.GGUFWriter(path, "llama")
        self.tensors = []
        self.dims = dict(layers=layers, width=width, query_heads=heads, kv_heads=kv_heads, head_dim=head_dim,
                         ffn_width=ffn, vocabulary=vocabulary)
        w = self.writer
        w.add_block_count(layers)
        w.add_embedding_length(width)
        w.add_feed_forward_length(ffn)
        w.add_head_count(heads)
        if kv_heads != heads:
            w.add_head_count_kv(kv_heads)
        if head_dim * heads != width:
            w.add_key_length(head_dim)
            w.add_value_length(head_dim)

    def tensor(self, name, rows, cols, kind=Q.F32):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        values = (self.rng.standard_normal((rows, cols)) * 0.1).astype(np.float32)
        if kind == Q.F32:
            data = values
        elif kind == Q.F16:
            data = values.astype(np.float16)
        elif kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):  # the package cannot write these; the bytes are what counts
            data = self.rng.integers(0, 256, (rows, cols // block * size), dtype=np.uint8)
        else:
            data = gguf.quants.quantize(values, kind)
        if name.endswith("norm.weight") or name == "rope_freqs.weight":
            data = data.reshape(-1)
        self.writer.add_tensor(name, data, raw_dtype=kind)
        if name != "rope_freqs.weight":
            self.tensors.append(dict(name=name, type=kind.name, rows=rows, cols=cols, fnv1a=fnv1a(data.tobytes())))
        return data

    def layers(self, kinds, tied=False):
        d = self.dims
        width, ffn = d["width"], d["ffn_width"]
        q, kv = d["query_heads"] * d["head_dim"], d["kv_heads"] * d["head_dim"]
        self.tensor("token_embd.weight", d["vocabulary"], width, kinds["token_embd"])
        for i in range(d["layers"]):
            self.tensor(f"blk.{i}.attn_norm.weight", 1, width)
            self.tensor(f"blk.{i}.attn_q.weight", q, width, kinds["attn_q"])
            self.tensor(f"blk.{i}.attn_k.weight", kv, width, kinds["attn_k"])
            self.tensor(f"blk.{i}.attn_v.weight", kv, width, kinds["attn_v"])
            self.tensor(f"blk.{i}.attn_output.weight", width, q, kinds["attn_output"])
            self.tensor(f"blk.{i}.ffn_norm.weight", 1, width)
            self.tensor(f"blk.{i}.ffn_gate.weight", ffn, width, kinds["ffn_gate"])
            self.tensor(f"blk.{i}.ffn_up.weight", ffn, width, kinds["ffn_up"])
            self.tensor(f"blk.{i}.ffn_down.weight", width, ffn, kinds["ffn_down"])
        self.tensor("output_norm.weight", 1, width)
        if not tied:
            self.tensor("output.weight", d["vocabulary"], width, kinds["output"])

    def write(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


NAMES = "token_embd attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down output".split()


def spm_gguf(path):
    f = GgufFixture(path, 1, layers=2, width=32, heads=4, kv_heads=2, head_dim=8, ffn=48, vocabulary=40)
    w = f.writer
    w.add_name("tiny SentencePiece")
    w.add_context_length(128)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(5000.0)
    w.add_rope_dimension_count(8)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(2.0)
    w.add_sliding_window(64)
    tokens, types, scores = spm_vocabulary()
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)
    w.add_chat_template(CHAT_TEMPLATE)
    f.layers(dict.fromkeys(NAMES, Q.F32))
    f.write()
    return dict(dims=f.dims, tensors=f.tensors, tokens=tokens, types=types, scores=scores, chat_template=CHAT_TEMPLATE)


def bpe_gguf(path):
    f = GgufFixture(path, 2, layers=1, width=32, heads=2, kv_heads=2, head_dim=16, ffn=32, vocabulary=32)
    w = f.writer
    w.add_context_length(256)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(500000.0)
    w.add_custom_alignment(64)
    tokens, types, merges = bpe_vocabulary()
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    w.add_eos_token_id(tokens.index("<|end_of_text|>"))
    w.add_eot_token_id(tokens.index("<|eot_id|>"))
    factors = np.array([1, 1, 2, 4, 8, 8, 8, 8], dtype=np.float32)
    w.add_tensor("rope_freqs.weight", factors, raw_dtype=Q.F32)
    f.layers(dict.fromkeys(NAMES, Q.F16), tied=True)
    f.write()
    return dict(dims=f.dims, tensors=f.tensors, tokens=tokens, types=types, merges=merges, factors=factors.tolist())


def types_gguf(path):
    f = GgufFixture(path, 3, layers=1, width=256, heads=1, kv_heads=1, head_dim=8, ffn=32, vocabulary=16)
    f.writer.add_context_length(64)
    f.writer.add_layer_norm_rms_eps(1e-5)
    kinds = dict(zip(NAMES, (Q.Q8_0, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1)))
    f.layers(kinds)
    f.write()
    return dict(dims=f.dims, tensors=f.tensors)


def hf_tensors(directory):
    out = {}
    for shard in sorted(directory.glob("*.safetensors")):
        shard.chmod(0o644)
        for name, tensor in load_file(shard).items():
            data = tensor.contiguous().view(torch.uint8).numpy().tobytes()
            out[name] = dict(type=str(tensor.dtype), shape=list(tensor.shape), fnv1a=fnv1a(data))
    return out


def trim(path, keys):
    """Drops keys that depend on the library's version."""
    data = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in data.items() if k not in keys}, indent=1) + "\n")


def hf_one(directory):
    """Llama, one shard, tied, llama3 RoPE in the newer form, a SentencePiece-like tokenizer."""
    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, max_position_embeddings=4096,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, dtype="bfloat16",
        rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64))
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    trim(directory / "config.json", ["transformers_version"])
    (directory / "generation_config.json").write_text(json.dumps(dict(bos_token_id=1, eos_token_id=[2, 5])) + "\n")

    tokens, _, _ = spm_vocabulary()
    vocabulary = {t: i for i, t in enumerate(tokens[:22])}
    merges = [("\u2581", "a"), ("a", "b"), ("\u2581", "ab"), ("\u2581a", "b"), ("c", "d"), ("ab", "cd"), ("e", "f"),
              ("g", "h"), ("ef", "gh")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<unk>", "<s>", "</s>", "<|im_end|>")])
    tokenizer.add_tokens([AddedToken("<extra>", special=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(dict(
        bos_token="<s>", eos_token=dict(content="</s>"), unk_token="<unk>",
        chat_template=[dict(name="tool", template="T"), dict(name="default", template=CHAT_TEMPLATE)])) + "\n")
    vocab = tokenizer.get_vocab()
    pieces = [p for p, _ in sorted(vocab.items(), key=lambda x: x[1])]
    return dict(tensors=hf_tensors(directory), tokens=pieces, merges=merges, rope=frequencies(config),
                chat_template=CHAT_TEMPLATE)


def hf_two(directory):
    """Mistral, several shards, f32, a byte-level tokenizer of LLaMA 3's kind."""
    torch.manual_seed(5)
    config = MistralConfig(
        vocab_size=32, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, rms_norm_eps=1e-6, max_position_embeddings=512, sliding_window=96,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=19, dtype="float32")
    MistralForCausalLM(config).to(torch.float32).save_pretrained(directory, max_shard_size="22KB")
    trim(directory / "config.json", ["transformers_version"])
    (directory / "generation_config.json").unlink(missing_ok=True)
    tokens, types, merges = bpe_vocabulary()
    plain = {t: i for i, t in enumerate(tokens[:18])}
    pairs = [tuple(m.split(" ")) for m in merges]
    tokenizer = Tokenizer(models.BPE(plain, pairs, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in tokens[18:21]])
    tokenizer.add_tokens([AddedToken(tokens[21], special=False)])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 18)])])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "special_tokens_map.json").write_text(json.dumps(dict(eos_token="<|end_of_text|>")) + "\n")
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return dict(tensors=hf_tensors(directory), tokens=tokens[:22], merges=pairs, rope=frequencies(config),
                shards=len(list(directory.glob("*.safetensors"))))


def frequencies(config):
    rope = config.rope_parameters
    if rope["rope_type"] == "default":
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        inverse = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim)
    else:
        inverse, attention_factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, torch.device("cpu"))
        assert attention_factor == 1.0
    return [float(x) for x in inverse]


def rope_cases():
    """config.json texts with the frequencies that transformers makes of them."""
    base = dict(vocab_size=64, hidden_size=256, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    out = []
    for rope in (
        dict(rope_type="default", rope_theta=10000.0),
        dict(rope_type="linear", rope_theta=10000.0, factor=4.0),
        dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=8192),
        dict(rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=8192),
    ):
        config = LlamaConfig(**base, max_position_embeddings=131072, rope_parameters=dict(rope))
        newer = dict(base, model_type="llama", max_position_embeddings=131072, rope_parameters=rope)
        older_rope = {k: v for k, v in rope.items() if k != "rope_theta"}
        older = dict(base, model_type="llama", max_position_embeddings=131072, rope_theta=rope["rope_theta"],
                     rope_scaling=older_rope)
        if rope["rope_type"] == "linear":
            older["rope_scaling"] = dict(type="linear", factor=4.0)
        out.append(dict(configs=[newer, older], type=rope["rope_type"], frequencies=frequencies(config)))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", type=pathlib.Path)
    root = parser.parse_args().directory
    root.mkdir(parents=True, exist_ok=True)
    expected = dict(spm=spm_gguf(root / "spm.gguf"), bpe=bpe_gguf(root / "bpe.gguf"),
                    types=types_gguf(root / "types.gguf"))
    for name, make in (("hf_one", hf_one), ("hf_two", hf_two)):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
        expected[name] = make(root / name)
    expected["rope"] = rope_cases()
    (root / "expected.json").write_text(json.dumps(expected, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
