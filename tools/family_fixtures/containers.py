"""The two containers: a Hugging Face directory as checkpoints are published, and its GGUF twin."""
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM


def write_directory(family, model, directory):
    shutil.rmtree(directory, ignore_errors=True)
    model.to(family.dtype).save_pretrained(directory)
    model.float()
    (directory / "generation_config.json").unlink(missing_ok=True)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    for name in ("_experts_implementation", "experts_implementation"):
        config.pop(name, None)
    if family.spell:
        config = family.spell(config)
    path.write_text(json.dumps(config, indent=1) + "\n")
    if family.pack:  # tensors stored otherwise than transformers holds them
        path = directory / "model.safetensors"
        save_file(family.pack(load_file(path)), path, metadata={"format": "pt"})
    for file in directory.iterdir():
        file.chmod(0o644)


@torch.no_grad()
def reading_error(directory, result):
    """How far the written directory's logits, as transformers reads it, are from those that are expected."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    logits = model.float().eval()(torch.from_numpy(result["ids"]).long()[None]).logits[0]
    return float((logits - torch.from_numpy(result["logits"])).abs().max())


def write_gguf(family, directory, path, converter):
    """llama.cpp's converter on a copy of the directory, in its own process: it brings a gguf package of its own."""
    kind = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}[family.dtype]
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / directory.name
        shutil.copytree(directory, copy)
        run = subprocess.run([sys.executable, str(Path(__file__).with_name("convert.py")), str(converter), str(copy),
                              str(path), kind], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{family.name}: the converter failed\n{run.stderr}")
    path.chmod(0o644)
