"""thinkey in EleutherAI's lm-evaluation-harness.

    python -m thinkey.lm_eval --model thinkey --model_args pretrained=model.gguf,cache=snapkv:512+think:0.4 --tasks piqa

is lm_eval's command line with this model in its registry; in Python, importing this module registers it.
pretrained: a .gguf file or a Hugging Face directory. cache: a spec, whose commas are written as semicolons here:
cache=snapkv:512;kernel=7. Needs lm_eval: pip install 'thinkey[eval]'.

Log-likelihoods with cache=full run context and continuation in one prefill. With any other spec the context is
prefilled and compressed, and the continuation is fed token by token: what the compressed cache makes of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from thinkey import _core
from thinkey.cache_spec import CacheSpec


def _log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=-1, keepdims=True)
    shifted: npt.NDArray[np.float64] = rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))
    return shifted


@register_model("thinkey")
class ThinkeyLM(LM):  # type: ignore[misc]
    """lm_eval's interface over a Model and a cache spec."""

    def __init__(
        self,
        pretrained: str,
        cache: str | CacheSpec = "full",
        max_length: int = 0,
        max_gen_toks: int = 256,
        threads: int = 0,
        precision: str = "auto",
        decode_precision: str = "auto",
        batch_size: int | str = 1,
        device: str = "cpu",
        **unknown: Any,
    ) -> None:
        super().__init__()
        # What lm_eval hands to every model and means nothing here.
        unknown.pop("max_batch_size", None)
        if unknown:
            raise _core.Error(f"lm_eval --model thinkey: unknown model_args {', '.join(sorted(unknown))}")
        if not str(device or "cpu").startswith("cpu"):
            raise _core.Error(f"lm_eval --model thinkey: device {device}; the engine runs on CPUs")
        self.model = _core.Model.load(
            pretrained, threads=threads, precision=precision, decode_precision=decode_precision
        )
        self.cache = cache if isinstance(cache, CacheSpec) else CacheSpec.parse(cache.replace(";", ","))
        self.max_length = max_length or self.model.info.context_length
        self.max_gen_toks = max_gen_toks

    @property
    def tokenizer_name(self) -> str:
        """For lm_eval's cache of chat requests."""
        return self.model.info.name.replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.model.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of context and continuation, split where the context's end. As lm_eval does it for other models:
        spaces at the context's end belong to the continuation."""
        spaces = len(context) - len(context.rstrip())
        if spaces:
            continuation = context[-spaces:] + continuation
            context = context[:-spaces]
        whole = self.model.tokenize(context + continuation)
        head = self.model.tokenize(context) if context else self._start()
        return whole[: len(head)], whole[len(head) :]

    def _start(self) -> list[int]:
        """Tokens before the first that is predicted."""
        return [self.model.bos] if self.model.bos >= 0 else []

    def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        """Log-probability of the continuation, and whether greedy decoding would give it."""
        if not continuation:
            return 0.0, True
        if len(continuation) >= self.max_length:
            raise _core.Error(
                f"lm_eval: a continuation of {len(continuation)} tokens does not fit the context of {self.max_length}"
            )
        # The left is cut off, as lm_eval does; the last token is predicted and never fed.
        tokens = (context + continuation)[-(self.max_length + 1) :]
        first = len(tokens) - len(continuation)  # of the continuation
        if first == 0:
            raise _core.Error("lm_eval: nothing stands before the continuation, and the model has no BOS token")
        session = _core.Session(self.model, self.cache, context=self.max_length)
        if self.cache.normalized() == CacheSpec():
            rows = session.prefill_logits(tokens[:-1])[first - 1 :]
        else:
            session.prefill(tokens[:first])
            rows = np.empty((len(continuation), self.model.info.vocabulary), np.float32)
            rows[0] = session.logits
            for i, token in enumerate(continuation[:-1], start=1):
                session.decode(token)
                rows[i] = session.logits
        picked = _log_softmax(rows)[np.arange(len(continuation)), continuation]
        return float(picked.sum()), bool((rows.argmax(axis=-1) == np.asarray(continuation)).all())

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        results = []
        for request in tqdm(requests, desc="loglikelihood", disable=disable_tqdm):
            results.append(self._score(*self._encode_pair(*request.args)))
            self.cache_hook.add_partial("loglikelihood", request.args, results[-1])
        return results

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts, in windows that do not overlap: each is predicted from its own tokens, the first token of
        a window from the last of the window before."""
        results = []
        for request in tqdm(requests, desc="loglikelihood_rolling", disable=disable_tqdm):
            tokens = self.model.tokenize(request.args[0], add_special=False)
            previous, total = self._start(), 0.0
            for at in range(0, len(tokens), self.max_length - 1):
                window = tokens[at : at + self.max_length - 1]
                if not previous:  # no BOS: the first token cannot be predicted
                    previous, window = window[:1], window[1:]
                total += self._score(previous, window)[0]
                previous = window[-1:] or previous
            results.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return results

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        results = []
        for request in tqdm(requests, desc="generate_until", disable=disable_tqdm):
            context, options = request.args
            results.append(self._answer(context, dict(options)))
            self.cache_hook.add_partial("generate_until", request.args, results[-1])
        return results

    def _answer(self, context: str, options: dict[str, Any]) -> str:
        until = options.pop("until", None) or []
        until = [until] if isinstance(until, str) else until
        most = int(options.pop("max_gen_toks", self.max_gen_toks))
        sample = options.pop("do_sample", False)
        temperature = float(options.pop("temperature", 0.8 if sample else 0.0)) if sample else 0.0
        options.pop("temperature", None)
        top_k, top_p = int(options.pop("top_k", 0)), float(options.pop("top_p", 1.0))
        if options:
            raise _core.Error(f"lm_eval --model thinkey: unknown generation options {', '.join(sorted(options))}")
        tokens = self.model.tokenize(context)[-(self.max_length - most) :]
        session = _core.Session(self.model, self.cache, context=self.max_length)
        generator = _core.Generator(
            session,
            tokens,
            max_tokens=most,
            sampler=_core.SamplerOptions(temperature=temperature, top_k=top_k, top_p=top_p, min_p=0.0),
        )
        text, more = "", True
        while more:
            more = generator.step()
            text += generator.take_text()
            ends = [at for stop in until if stop and (at := text.find(stop)) >= 0]
            if ends:
                return text[: min(ends)]
        return text


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
