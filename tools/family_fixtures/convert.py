"""Runs the model classes of llama.cpp's converter (a checkout's `conversion` package), without a tokenizer.

Usage: convert.py CHECKOUT DIRECTORY OUT TYPE
"""
import json
import sys
from pathlib import Path


def main():
    checkout, directory, out, kind = sys.argv[1:]
    sys.path[:0] = [checkout, str(Path(checkout) / "gguf-py")]
    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    parameters = ModelBase.load_hparams(Path(directory), False)
    vocabulary = parameters.get("text_config", parameters)["vocab_size"]
    # Gemma 3's class counts the entries; nothing else looks at them.
    (Path(directory) / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": {f"t{i}": i for i in range(vocabulary)}}, "added_tokens": []}))
    base = get_model_class(get_model_architecture(parameters, ModelType.TEXT))

    def no_vocabulary(self):
        writer = getattr(self, "impl", self).gguf_writer
        writer.add_tokenizer_model("none")
        if not any(key.endswith(".vocab_size") for key in writer.kv_data[0]):
            writer.add_vocab_size(vocabulary)

    base.set_vocab = no_vocabulary
    if hasattr(base, "Ministral3Model"):  # a class that delegates to another
        base.Ministral3Model.set_vocab = no_vocabulary
    kinds = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16,
             "bf16": gguf.LlamaFileType.MOSTLY_BF16}
    with torch.inference_mode():
        base(Path(directory), kinds[kind], Path(out)).write()


if __name__ == "__main__":
    main()
