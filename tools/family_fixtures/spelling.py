"""config.json as checkpoints are published, from what transformers 5 writes."""
import torch


def old_rope(config):
    """rope_theta and rope_scaling at the top, `torch_dtype`: transformers 4."""
    config = dict(config)
    parameters = config.pop("rope_parameters")
    if "full_attention" in parameters:  # one scaling, which goes to the full layers
        parameters = parameters["full_attention"]
    parameters = dict(parameters)
    config["rope_theta"] = parameters.pop("rope_theta")
    if (part := parameters.pop("partial_rotary_factor", None)) is not None:
        config["partial_rotary_factor"] = part
    config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype")
    return config


def old_rope_type(config):
    """`type` for `rope_type`, as before transformers 4.43."""
    config = old_rope(config)
    config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
    return config


def without(*fields):
    """Without fields that published files leave to be derived."""
    return lambda config: {key: value for key, value in old_rope(config).items() if key not in fields}


def phi3_published(config):
    """`type`; the original context beside rope_scaling, which holds two lists only."""
    config = old_rope(config)
    if config["rope_scaling"]:
        scaling = config["rope_scaling"]
        config["original_max_position_embeddings"] = scaling["original_max_position_embeddings"]
        config["rope_scaling"] = {"long_factor": scaling["long_factor"], "short_factor": scaling["short_factor"],
                                  "type": scaling["rope_type"]}
    return config


def gemma3_published(config):
    """sliding_window_pattern and rope_local_base_freq."""
    local = config["rope_parameters"]["sliding_attention"]["rope_theta"]
    config = {key: value for key, value in old_rope(config).items() if key not in ("layer_types", "_sliding_window_pattern")}
    return config | {"rope_local_base_freq": local, "sliding_window_pattern": 6}


def granite_hybrid(config):
    """Layers of "attention" (transformers 5 writes full_attention)."""
    return old_rope(config) | {"layer_types": ["attention"] * config["num_hidden_layers"]}


def mxfp4_config(config):
    return old_rope(config) | {"quantization_config": {
        "quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                            "model.embed_tokens", "lm_head"]}}


def nested_text(architecture, kind):
    """The text model's config inside a multimodal one, which repeats nothing of it."""
    def spell(config):
        return {"architectures": [architecture], "model_type": kind, "text_config": config, "dtype": config["dtype"]}
    return spell


def nested_tensors(tensors):
    """The text model's tensors among those of a vision tower."""
    packed = {"language_model." + name: value for name, value in tensors.items()}
    some = next(iter(tensors.values()))
    return packed | {"vision_tower.patch_conv.weight": torch.ones(4, 4, dtype=some.dtype),
                     "multi_modal_projector.linear_1.weight": torch.ones(4, 4, dtype=some.dtype)}
