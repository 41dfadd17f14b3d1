// Granite 3 and the dense Granite 4: Llama with multipliers.
#include <cstdint>

#include "model/families/families.h"

namespace thinkey::family {
namespace {

// What converters write of state-space layers for models that have none: their tensors would be refused.
void ignore_state_space(SpecReader& r) {
  for (const char* key : {"ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank",
                          "ssm.group_count", "expert_shared_feed_forward_length"}) {
    r.config().ignore(key);
  }
}

// Granite's converters say by this key whether positions are used at all.
void forget_positions(SpecReader& r) {
  if (r.config().boolean("rope.scaling.finetuned").value_or(true)) return;
  for (LayerSpec& layer : r.spec.layers) layer.attention.rope = -1;
}

void multipliers(SpecReader& r) {
  const auto multiplier = [&](Key key) {
    const double value = r.number(key).value_or(1.0);
    if (value <= 0) r.fail(key, "is not a positive number");
    return static_cast<float>(value);
  };
  r.spec.embedding_scale = multiplier({"embedding_scale", "embedding_multiplier"});
  r.spec.residual_scale = multiplier({"residual_scale", "residual_multiplier"});
  r.spec.logit_scale = 1.0F / multiplier({"logit_scale", "logits_scaling"});
  const float scale = multiplier({"attention.scale", "attention_multiplier"});
  // transformers' class starts from 1; a GGUF leaves the usual scale out.
  const bool usual = r.gguf() && !r.config().has("attention.scale");
  for (LayerSpec& layer : r.spec.layers) layer.attention.shape.scale = usual ? 0.0F : scale;
}

}  // namespace

void granite(SpecReader& r) {
  r.common({.context_length = 2048});
  if (r.integer({"expert_count", ""}).value_or(0) != 0) {
    r.fail({"expert_count", ""}, "is not 0: Granite's mixture of experts is not supported");
  }
  (void)r.integer({"expert_used_count", ""});
  if (r.gguf()) ignore_state_space(r);
  r.biases(false, true);
  multipliers(r);
  r.rope(r.gguf() ? RopePairs::Interleaved : RopePairs::HalfSplit);
  if (r.gguf()) forget_positions(r);
}

// GraniteMoeHybrid without state-space layers and without routed experts: its "shared" feed-forward is all.
void granite_hybrid(SpecReader& r) {
  r.common({.context_length = 2048, .feed_forward = false});
  r.biases(false, true);
  multipliers(r);
  const Key experts{"expert_count", "num_local_experts"};
  if (r.integer(experts).value_or(r.gguf() ? 0 : 8) != 0) {
    r.fail(experts, "is not 0: Granite's mixture of experts is not supported");
  }
  (void)r.integer({"expert_used_count", "num_experts_per_tok"});
  if (r.gguf()) {
    ignore_state_space(r);
    r.rope(RopePairs::Interleaved);
    forget_positions(r);
    return;
  }
  for (const char* key :
       {"mamba_n_heads", "mamba_n_groups", "mamba_d_state", "mamba_d_head", "mamba_d_conv", "mamba_expand",
        "mamba_chunk_size", "mamba_conv_bias", "mamba_proj_bias", "time_step_limit", "time_step_min",
        "time_step_max", "time_step_floor", "normalization_function", "init_method"}) {
    r.config().ignore(key);
  }
  for (const char* key : {"layer_types", "layers_block_type"}) {
    const auto types = r.config().texts(key);
    if (!types) continue;
    for (const std::string& type : *types) {
      if (type != "attention" && type != "full_attention") {
        r.config().fail(key, "holds layers that are no attention, which is not supported");
      }
    }
  }
  if (!r.config().has("layer_types") && !r.config().has("layers_block_type")) {
    r.config().fail("layer_types", "is missing: its layers would be state-space layers");
  }
  const std::int64_t width = r.integer({"", "shared_intermediate_size"}).value_or(1024);
  if (width < 1) r.fail({"", "shared_intermediate_size"}, "is not positive");
  for (LayerSpec& layer : r.spec.layers) layer.feed_forward.width = static_cast<std::size_t>(width);
  r.spec.layout.fused_gate_up = true;
  r.spec.layout.renamed = {{"mlp.gate_up_proj.weight", "shared_mlp.input_linear.weight"},
                           {"mlp.down_proj.weight", "shared_mlp.output_linear.weight"}};
  const std::string positions = r.config().text("position_embedding_type").value_or("none");
  r.rope(RopePairs::HalfSplit);
  if (positions == "rope") return;
  if (positions != "none" && positions != "nope") {
    r.config().fail("position_embedding_type", "is not supported (rope and none are)");
  }
  for (LayerSpec& layer : r.spec.layers) layer.attention.rope = -1;
}

}  // namespace thinkey::family
