// Damaged and hostile Hugging Face directories.
#include <gtest/gtest.h>

#include <functional>

#include "formats/format_test_util.h"
#include "formats/safetensors.h"

namespace thinkey {
namespace {

using namespace thinkey::testing;  // NOLINT(google-build-using-namespace)
using Json = nlohmann::json;

class HfBadInput : public ::testing::Test {
 protected:
  void SetUp() override { copy("hf_two"); }
  void copy(const std::string& name) {
    std::filesystem::copy(
        fixture(name), directory_.path(),
        std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive);
  }
  void refuses(std::string_view part) {
    SCOPED_TRACE(part);
    expect_data_error(directory_.path(), part, [&] { (void)open_as_model(directory_.path()); });
  }
  // With `file` changed the directory must be refused; the file is put back afterwards.
  void refuses_json(const std::string& file, std::string_view part,
                    const std::function<void(Json&)>& change) {
    const std::string before = read_file(directory_ / file);
    Json json = Json::parse(before);
    change(json);
    write_file(directory_ / file, json.dump());
    refuses(part);
    write_file(directory_ / file, before);
  }
  void refuses_config(std::string_view part, const std::string& key, const Json& value) {
    refuses_json("config.json", part, [&](Json& config) { config[key] = value; });
  }
  void refuses_text(const std::string& file, std::string_view part, const std::string& text) {
    const std::string before = read_file(directory_ / file);
    write_file(directory_ / file, text);
    refuses(part);
    write_file(directory_ / file, before);
  }
  // All weights in one model.safetensors, after `change`.
  void refuses_weights(std::string_view part,
                       const std::function<void(std::vector<SafetensorsTensor>&)>& change) {
    std::vector<SafetensorsFile> shards;
    std::vector<SafetensorsTensor> tensors;
    for (const auto& item : std::filesystem::directory_iterator(fixture("hf_two"))) {
      if (item.path().extension() == ".safetensors") shards.emplace_back(item.path());
    }
    for (const auto& shard : shards) {
      tensors.insert(tensors.end(), shard.tensors().begin(), shard.tensors().end());
    }
    change(tensors);
    write_safetensors(directory_ / "model.safetensors", tensors);
    refuses(part);
    std::filesystem::remove(directory_ / "model.safetensors");
  }

  TemporaryDirectory directory_;
};

SafetensorsTensor& by_name(std::vector<SafetensorsTensor>& tensors, std::string_view name) {
  return *std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
}

TEST_F(HfBadInput, MissingFiles) {
  std::filesystem::remove(directory_ / "model-00002-of-00003.safetensors");
  refuses("cannot open");
  std::filesystem::remove(directory_ / "model.safetensors.index.json");
  refuses("neither model.safetensors nor");
  std::filesystem::remove(directory_ / "config.json");
  refuses("no config.json");
}

TEST_F(HfBadInput, Config) {
  refuses_text("config.json", "not valid JSON", "{");
  refuses_text("config.json", "not valid JSON", "");
  refuses_text("config.json", "not a JSON object", "[]");
  refuses_text("config.json", "nested deeper", std::string(500000, '['));
  refuses_text("config.json", "at most", std::string(17U << 20U, ' '));
  refuses_config("\"gpt2\" is not supported", "model_type", "gpt2");
  refuses_config("model_type is missing", "model_type", nullptr);
  refuses_config("q_proj.bias is missing", "attention_bias", true);
  refuses_config("is_causal is false", "is_causal", false);
  refuses_config("clip_qkv is not known to this program", "clip_qkv", 8);
  refuses_config("is_encoder_decoder is not known", "is_encoder_decoder", true);
  refuses_config("\"gelu\" is not supported", "hidden_act", "gelu");
  refuses_config("\"gptq\" is not supported", "quantization_config", {{"quant_method", "gptq"}});
  for (const char* key :
       {"vocab_size", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"}) {
    refuses_json("config.json", std::string(key) + " is missing", [&](Json& config) { config.erase(key); });
  }
  for (const char* key :
       {"vocab_size", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const Json& value : {Json(0), Json(-1), Json(INT64_MAX), Json(INT64_MIN), Json(UINT64_MAX),
                              Json(1.5), Json("2"), Json::array(), Json(true)}) {
      refuses_config("", key, value);
    }
  }
  refuses_config("num_hidden_layers is outside 1 to 1024", "num_hidden_layers", 1025);
  refuses_config("hyperparameters ask for", "intermediate_size", 32);
  refuses_config("hyperparameters ask for", "head_dim", 8);
  refuses_config("is missing", "num_hidden_layers", 3);
  refuses_config("is not part of a mistral model", "num_hidden_layers", 1);
  refuses_config("epsilon", "rms_norm_eps", -1);
  refuses_config("sliding_window is negative", "sliding_window", -5);
  refuses_config("contradicts sliding_window", "layer_types", {"full_attention", "sliding_attention"});
  refuses_config("eos_token_id holds", "eos_token_id", {1, "a"});
  refuses_json("config.json", "does not divide", [](Json& config) {
    config.erase("head_dim");
    config["num_attention_heads"] = 3;
  });
}

TEST_F(HfBadInput, Rope) {
  const auto rope = [&](std::string_view part, const Json& value) {
    refuses_config(part, "rope_parameters", value);
  };
  rope("\"proportional\" is not supported", {{"rope_type", "proportional"}});
  rope("long_factor is not a list", {{"rope_type", "longrope"}});
  rope("short_factor is not a list",
       {{"rope_type", "longrope"}, {"long_factor", {1, 1, 1, 1, 1, 1, 1, 1}}, {"short_factor", {1, 0}}});
  rope("factor is not a positive", {{"rope_type", "yarn"}, {"factor", 0}});
  rope("factor is missing", {{"rope_type", "linear"}});
  rope("factor is not a positive", {{"rope_type", "linear"}, {"factor", 0}});
  rope("factor is not a number", {{"rope_type", "linear"}, {"factor", "2"}});
  rope("low_freq_factor is missing", {{"rope_type", "llama3"}, {"factor", 8}});
  rope("not greater",
       {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}});
  rope("RoPE base", {{"rope_type", "default"}, {"rope_theta", -1}});
  rope("RoPE base", {{"rope_type", "default"}, {"rope_theta", 0}});
  rope("partial_rotary_factor", {{"rope_type", "default"}, {"partial_rotary_factor", 1.5}});
  rope("differs from rope_type", {{"rope_type", "default"}, {"type", "linear"}});
  rope("rope_parameters.speed is not known", {{"rope_type", "default"}, {"speed", 2}});
  rope("is not an object", Json::array());
  refuses_json("config.json", "rope_scaling.type is not a string", [](Json& config) {
    config.erase("rope_parameters");
    config["rope_scaling"] = {{"type", 3}};
  });
}

// What a file says twice must be the same both times.
TEST_F(HfBadInput, Contradictions) {
  refuses_json("config.json", "rope_scaling differs from rope_parameters", [](Json& config) {
    config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  });
  refuses_json("config.json", "rope_theta differs", [](Json& config) { config["rope_theta"] = 5.0; });
  refuses_config("lm_head.weight holds other numbers than the embedding", "tie_word_embeddings", true);
}

TEST_F(HfBadInput, Index) {
  const std::string index = "model.safetensors.index.json";
  refuses_text(index, "not valid JSON", "{");
  refuses_json(index, "weight_map is missing", [](Json& json) { json.erase("weight_map"); });
  refuses_json(index, "weight_map is missing", [](Json& json) { json["weight_map"] = Json::object(); });
  refuses_json(index, "not a file name", [](Json& json) { json["weight_map"]["x"] = 1; });
  for (const char* name : {"../model.safetensors", "/etc/passwd", "a/b", "", ".", ".."}) {
    refuses_json(index, "not a plain file name", [&](Json& json) { json["weight_map"]["x"] = name; });
  }
  refuses_json(index, "not a plain file name",
               [&](Json& json) { json["weight_map"]["x"] = std::string("a\0b", 3); });
  refuses_json(index, "cannot open", [](Json& json) { json["weight_map"]["x"] = "absent.safetensors"; });
  refuses_json(index, "no tensor x",
               [](Json& json) { json["weight_map"]["x"] = "model-00001-of-00003.safetensors"; });
  std::filesystem::copy_file(directory_ / "model-00001-of-00003.safetensors",
                             directory_ / "again.safetensors");
  refuses_json(index, "more than one shard", [](Json& json) {
    for (auto& [name, file] : json["weight_map"].items()) {
      if (file == "model-00001-of-00003.safetensors") {
        json["weight_map"][name] = "again.safetensors";
        return;
      }
    }
  });
}

TEST_F(HfBadInput, Weights) {
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  const std::vector<float> many(64 * 32);
  refuses_weights("model.layers.1.self_attn.q_proj.weight is missing", [&](auto& tensors) {
    tensors.erase(std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == q; }));
  });
  refuses_weights("model.layers.1.self_attn.q_proj.weight has", [&](auto& tensors) {
    auto& tensor = by_name(tensors, q);
    tensor.shape = {16, 64};
  });
  refuses_weights("more than three dimensions", [&](auto& tensors) {
    by_name(tensors, q).shape = {32, 4, 4, 2};
  });
  refuses_weights("dtype I32", [&](auto& tensors) { by_name(tensors, q).type = SafetensorsType::I32; });
  refuses_weights("dtype F8_E4M3", [&](auto& tensors) {
    auto& tensor = by_name(tensors, q);
    tensor.type = SafetensorsType::F8_E4M3;
    tensor.shape = {64, 64};
  });
  refuses_weights("is a bias", [&](auto& tensors) {
    tensors.push_back({.name = "model.layers.0.self_attn.q_proj.bias",
                       .type = SafetensorsType::F32,
                       .shape = {2},
                       .bytes = std::as_bytes(std::span(many)).subspan(0, 8)});
  });
  refuses_weights("is not part of a mistral model", [&](auto& tensors) {
    tensors.push_back({.name = "model.layers.0.block_sparse_moe.gate.weight",
                       .type = SafetensorsType::F32,
                       .shape = {2},
                       .bytes = std::as_bytes(std::span(many)).subspan(0, 8)});
  });
  refuses_weights("is empty", [&](auto& tensors) {
    auto& tensor = by_name(tensors, q);
    tensor.shape = {0, 32};
    tensor.bytes = {};
  });
}

TEST_F(HfBadInput, TruncatedAndFlippedShards) {
  const auto shard = directory_ / "model-00003-of-00003.safetensors";
  const std::string good = read_file(shard);
  for (std::size_t length = 0; length < good.size(); length += length < 1200 ? 13 : 611) {
    write_file(shard, good.substr(0, length));
    ASSERT_FALSE(loads_or_throws(directory_.path(), directory_.path())) << length;
  }
  for (std::size_t at = 0; at < 1200; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(static_cast<unsigned char>(bad[at]) ^ (1U << (at % 8)));
    write_file(shard, bad);
    (void)loads_or_throws(directory_.path(), directory_.path());
    ASSERT_FALSE(HasFailure()) << at;
  }
}

TEST_F(HfBadInput, FlippedConfig) {
  for (const std::string name : {"config.json", "model.safetensors.index.json", "tokenizer.json"}) {
    const std::string good = read_file(directory_ / name);
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(static_cast<unsigned char>(bad[at]) ^ (1U << (at % 7)));
      write_file(directory_ / name, bad);
      (void)loads_or_throws(directory_.path(), directory_.path());
      if (at % 5 == 0) {
        write_file(directory_ / name, good.substr(0, at));
        EXPECT_FALSE(loads_or_throws(directory_.path(), directory_.path())) << at;
      }
      ASSERT_FALSE(HasFailure()) << name << " " << at;
    }
    write_file(directory_ / name, good);
  }
}

TEST_F(HfBadInput, SideFiles) {
  write_file(directory_ / "tokenizer_config.json", "{}");
  refuses_text("tokenizer_config.json", "not valid JSON", "{\"a\":}");
  refuses_text("tokenizer_config.json", "add_bos_token is not", R"({"add_bos_token": 1})");
  refuses_text("tokenizer_config.json", "bos_token is not a string", R"({"bos_token": 1})");
  refuses_text("tokenizer_config.json", "bos_token.content is missing", R"({"bos_token": {}})");
  const std::string jinja = read_file(directory_ / "chat_template.jinja");
  std::filesystem::remove(directory_ / "chat_template.jinja");  // it would come before the next ones
  refuses_text("tokenizer_config.json", "chat_template is not a string", R"({"chat_template": 1})");
  refuses_text("tokenizer_config.json", "chat_template holds", R"({"chat_template": [1]})");
  refuses_text("tokenizer_config.json", "template is missing", R"({"chat_template": [{}]})");
  write_file(directory_ / "chat_template.jinja", jinja);
  refuses_text("special_tokens_map.json", "not a JSON object", "1");
  refuses_text("chat_template.jinja", "1 MiB", std::string((1U << 20U) + 1, 'x'));
  write_file(directory_ / "generation_config.json", R"({"eos_token_id": "x"})");
  refuses("eos_token_id is not an integer");
}

TEST_F(HfBadInput, TokenizerLargerThanTheModel) {
  refuses_json("tokenizer.json", "33 tokens, but vocab_size",
               [](Json& json) { json["model"]["vocab"]["zz"] = 32; });
}

}  // namespace
}  // namespace thinkey
