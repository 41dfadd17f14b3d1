"""Random weights, and what transformers computes from them."""
import re

import numpy as np
import torch
import transformers

VOCABULARY = 96
PROMPT = 75          # past every window and past every "original" context; a multiple of no tile size
GREEDY = 64
CONTEXT = 256
LEAST_MARGIN = 0.05  # between the two likeliest tokens of every greedy step: 16-bit caches must not flip one
LEAST_ROUTE = 0.003  # between the last expert that is chosen and the first that is not, as router logits
LEAST_VARIETY = 12   # distinct tokens in the continuation
LEAST_EFFECT = 0.02  # of the logits' range: what a feature, switched off, must change


def make(family, **changes):
    """The model with whatever weights transformers gives it."""
    config = dict(vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, bos_token_id=1, eos_token_id=2,
                  pad_token_id=None, attn_implementation="eager") | family.config | changes
    if "rope_parameters" in config:  # the constructor writes into it
        config["rope_parameters"] = {key: dict(value) if isinstance(value, dict) else value
                                     for key, value in config["rope_parameters"].items()}
    model = getattr(transformers, family.model + "ForCausalLM")(
        getattr(transformers, (family.config_class or family.model) + "Config")(**config))
    model.config._experts_implementation = "eager"
    return model.float().eval()


def draw(family, name, shape, generator):
    """A weight of its kind's usual size; family.gains overrides by name: (mean, deviation) or a gain on matrices."""
    noise = torch.randn(shape, generator=generator)
    chosen = next((gain for pattern, gain in family.gains.items() if re.search(pattern, name)), None)
    if isinstance(chosen, tuple):
        return chosen[0] + chosen[1] * noise
    if "norm" in name:
        return (1 if chosen is None else chosen) + 0.3 * noise
    if name.endswith("bias"):
        return (0.5 if chosen is None else chosen) * noise
    if name.endswith("sinks"):
        return 1 + noise
    if name.endswith(("embed_tokens.weight", "lm_head.weight")):
        return (0.6 if chosen is None else chosen) * noise
    # Rows are outputs, except in GPT-OSS' expert tensors.
    inputs = shape[1] if len(shape) == 3 and family.model == "GptOss" else shape[-1]
    gain = 1.0 if chosen is None else chosen
    if chosen is None and re.search(r"\.(q|k)_proj\.", name):
        gain = 1.8
    if chosen is None and re.search(r"mlp\.(gate|router)\.weight", name):
        gain = 3.0
    return noise * gain / inputs**0.5


def build(family, seed):
    """The model with random weights, rounded to what will be saved."""
    model = make(family)
    generator = torch.Generator().manual_seed(seed)
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    state = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            state[name] = state["model.embed_tokens.weight"]
            continue
        weight = draw(family, name, value.shape, generator)
        state[name] = family.round(name, weight) if family.round else weight.to(family.dtype).float()
    model.load_state_dict(state)
    return model


def watch_routers(model):
    """A list that receives, for every router call, the least distance between chosen and not chosen."""
    margins = []

    def watch(module, inputs):
        logits = inputs[0].reshape(-1, inputs[0].shape[-1]) @ module.weight.T
        if getattr(module, "bias", None) is not None:
            logits = logits + module.bias
        ordered = logits.sort(dim=-1, descending=True).values
        margins.append(float((ordered[:, module.top_k - 1] - ordered[:, module.top_k]).min()))

    for module in model.modules():
        if "Router" in type(module).__name__:
            module.register_forward_pre_hook(watch)
    return margins


def prompt_of(family, seed):
    generator = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(3, VOCABULARY, (1, family.prompt), generator=generator)
    ids[0, 0] = 1
    return ids


@torch.no_grad()
def expected(family, model, seed):
    """Prompt, logits and greedy continuation, or None when the continuation hangs by a thread."""
    ids = prompt_of(family, seed)
    margins = watch_routers(model)
    step = model(ids, use_cache=True)
    logits = step.logits[0]
    tokens = ids
    for _ in range(GREEDY):
        best = step.logits[0, -1].topk(2)
        if best.values[0] - best.values[1] < LEAST_MARGIN or min(margins, default=1) < LEAST_ROUTE:
            return None
        tokens = torch.cat([tokens, best.indices[:1].view(1, 1)], dim=1)
        step = model(tokens[:, -1:], cache=step.past_key_values, use_cache=True)
    greedy = tokens[0, family.prompt:]
    if len(set(greedy.tolist())) < LEAST_VARIETY:
        return None
    return {"ids": ids[0].numpy().astype(np.int32), "logits": logits.numpy().astype(np.float32),
            "greedy": greedy.numpy().astype(np.int32)}


@torch.no_grad()
def effects(family, model, result):
    """What each feature, switched off, changes: the largest difference of a logit, in parts of the logits' range."""
    ids = torch.from_numpy(result["ids"]).long()[None]
    span = float(np.ptp(result["logits"]))
    found = {}
    for feature, changes in family.off.items():
        changes = dict(changes)
        weights = changes.pop("weights", {})
        other = make(family, **changes)
        state = {}
        for name, value in other.state_dict().items():
            kept = model.state_dict().get(name, torch.zeros_like(value))
            neutral = next((number for pattern, number in weights.items() if re.search(pattern, name)), None)
            state[name] = kept if neutral is None else torch.full_like(kept, neutral)
        other.load_state_dict(state)
        found[feature] = float(np.abs(other(ids).logits[0].numpy() - result["logits"]).max()) / span
    return found
