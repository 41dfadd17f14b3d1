#!/usr/bin/env python3
"""lm-eval's `local-completions` against the server: a small multiple-choice task from local files, whose answers the
test knows from the model's own log-probabilities.

usage: lm_eval_test.py THINKEY MODEL WORK_DIRECTORY
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from serving import Server, run, with_clients

with_clients("lm_eval")
with_clients("gguf")
import gguf  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

program, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
QUESTIONS = [("The sky is", [" blue", " seven", " of"]), ("one two three", [" four", " the", " is"]), ("The number is", [" 7", " blue", "!"])]


def tokenizer():
    """The model's, as lm-eval wants it."""
    fields = gguf.GGUFReader(model).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    out = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    out.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    out.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=out, eos_token=tokens[0], bos_token=tokens[0]).save_pretrained(work / "tokenizer")


def a_task_from_local_files():
    tokenizer()
    (work / "data.jsonl").write_text("\n".join(json.dumps({"q": q, "choices": c, "answer": 0}) for q, c in QUESTIONS))
    (work / "task.yaml").write_text(f"""task: local_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {work}/data.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
""")
    with Server(program, model, "--alias", "needle") as server:
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(work / "hf"), "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [Path(sys.executable).parent / "lm_eval", "--model", "local-completions", "--tasks", "local_choice", "--include_path", work,
             "--model_args", f"model=needle,base_url=http://127.0.0.1:{server.port}/v1/completions,tokenizer={work}/tokenizer,"
             "tokenizer_backend=huggingface,num_concurrent=2", "--output_path", work / "out", "--log_samples"],
            capture_output=True, text=True, env=env, timeout=500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        samples = [json.loads(line) for line in next((work / "out").rglob("samples_*.jsonl")).read_text().splitlines()]
        assert len(samples) == len(QUESTIONS)
        for sample in samples:
            question, choices = QUESTIONS[sample["doc_id"]]
            for choice, response in zip(choices, sample["filtered_resps"]):
                tokens = server.post("/tokenize", {"content": question + choice})["tokens"]
                context = len(server.post("/tokenize", {"content": question})["tokens"])
                whole = server.post("/v1/completions", {"prompt": tokens, "max_tokens": 0, "echo": True, "logprobs": 1})
                expected = sum(whole["choices"][0]["logprobs"]["token_logprobs"][context:])
                assert abs(float(response[0]) - expected) < 0.05, (question, choice, response, expected)


run([a_task_from_local_files])
