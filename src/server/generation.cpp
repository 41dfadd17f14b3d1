#include "server/generation.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

#include "formats/printable.h"
#include "server/http_message.h"

namespace thinkey::server {
namespace {

constexpr std::size_t kMostStopStrings = 16;
constexpr std::size_t kLongestStopString = 1024;
constexpr std::size_t kMostBiases = 1024;
constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();

void read_bias(RequestFields& fields, const Service& service, GenerationRequest& out) {
  const OrderedJson* biases = fields.object("logit_bias");
  if (biases == nullptr) return;
  if (biases->size() > kMostBiases)
    fields.fail("logit_bias", fmt::format("has more than {} tokens", kMostBiases));
  for (const auto& [key, value] : biases->items()) {
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
        static_cast<std::size_t>(id) >= service.model->info().vocabulary) {
      fields.fail("logit_bias",
                  fmt::format("has the key \"{}\", which is not a token's number", printable(key, 40)));
    }
    if (!value.is_number() || std::abs(value.get<double>()) > 100) {
      fields.fail("logit_bias", fmt::format("must be a number from -100 to 100 for token {}", id));
    }
    const auto bias = value.get<float>();
    // OpenAI's -100 and 100 ban a token and make it the only one.
    out.sampler.logit_bias[id] = bias <= -100 ? -std::numeric_limits<float>::infinity() : bias;
  }
}

void read_cache(RequestFields& fields, const Service& service, GenerationRequest& out) {
  out.cache = service.options.cache;
  const auto text = fields.text("cache");
  if (!text) return;
  try {
    out.cache = CacheSpec::parse(*text);
  } catch (const Error& error) {
    refuse(fields.path("cache"), "{}", error.what());
  }
  const auto& allowed = service.options.caches;
  if (service.options.any_cache || out.cache == service.options.cache ||
      std::find(allowed.begin(), allowed.end(), out.cache) != allowed.end()) {
    return;
  }
  std::string names = service.options.cache.to_string();
  for (const CacheSpec& spec : allowed) names += ", " + spec.to_string();
  fields.fail("cache",
              fmt::format("\"{}\" is not among what this server allows: {}", printable(*text, 60), names));
}

}  // namespace

void check_model(RequestFields& fields, const Service& service) {
  const auto model = fields.text("model");
  const auto& names = service.options.names;
  if (!model || model->empty() || std::find(names.begin(), names.end(), *model) != names.end()) return;
  throw ApiError(
      404, fmt::format("the model \"{}\" is not served here; \"{}\" is", printable(*model, 100), names[0]),
      "model", "model_not_found");
}

void read_generation_fields(RequestFields& fields, const Service& service, GenerationRequest& out) {
  out.sampler = service.options.sampler;
  SamplerOptions& s = out.sampler;
  const auto as_float = [&](const char* name, double least, double most, float& to) {
    if (const auto value = fields.number(name, least, most)) to = static_cast<float>(*value);
  };
  as_float("temperature", 0, 100, s.temperature);
  as_float("top_p", 0, 1, s.top_p);
  if (s.top_p <= 0.0F) {  // OpenAI allows 0, which leaves the likeliest
    s.top_p = 1.0F;
    s.top_k = 1;
  }
  as_float("min_p", 0, 1, s.min_p);
  if (const auto k = fields.integer("top_k", -1, kMostTokens))
    s.top_k = std::max<std::int32_t>(static_cast<std::int32_t>(*k), 0);
  as_float("presence_penalty", -2, 2, s.presence_penalty);
  as_float("frequency_penalty", -2, 2, s.frequency_penalty);
  as_float("repeat_penalty", 0.01, 100, s.repeat_penalty);
  if (const auto n = fields.integer("repeat_last_n", -1, kMostTokens))
    s.repeat_last_n = static_cast<std::int32_t>(*n);
  if (const auto seed = fields.integer("seed", std::numeric_limits<std::int64_t>::min(),
                                       std::numeric_limits<std::int64_t>::max());
      seed && *seed != -1) {
    s.seed = static_cast<std::uint64_t>(*seed);
  } else if (!service.options.seeded) {
    s.seed = std::random_device{}();
  }
  read_bias(fields, service, out);
  out.stop = fields.texts("stop", kMostStopStrings);
  for (const std::string& stop : out.stop) {
    if (stop.empty()) fields.fail("stop", "has an empty string");
    if (stop.size() > kLongestStopString) fields.fail("stop", "has a string of more than 1024 bytes");
  }
  out.ignore_end = fields.boolean("ignore_eos").value_or(false);
  out.reuse = fields.boolean("cache_prompt").value_or(true);
  read_cache(fields, service, out);
}

StreamOptions read_stream_options(RequestFields& fields) {
  StreamOptions out{.stream = fields.boolean("stream").value_or(false)};
  if (const OrderedJson* options = fields.object("stream_options")) {
    RequestFields inner(*options, "stream_options.");
    out.include_usage = inner.boolean("include_usage").value_or(false);
    inner.ignore({"include_obfuscation"});
    inner.finish();
    if (!out.stream) fields.fail("stream_options", "is for \"stream\": true");
  }
  return out;
}

Generation::Generation(Service& service, GenerationRequest request) : service_(service) {
  try {
    ticket_ = service.scheduler.submit(std::move(request), [channel = channel_](GenerationEvent event) {
      {
        const std::scoped_lock lock(channel->mutex);
        channel->events.push_back(std::move(event));
      }
      channel->changed.notify_one();
    });
  } catch (const QueueFull& error) {
    ApiError refusal(429, error.what(), {}, "queue_full");
    refusal.retry_after = error.retry_after;
    throw refusal;
  }
}

Generation::~Generation() {
  if (!finished_ && ticket_) service_.scheduler.cancel(ticket_);
}

GenerationEvent Generation::next() {
  constexpr std::chrono::milliseconds kLook{50};
  std::unique_lock lock(channel_->mutex);
  for (;;) {
    // Also where events come faster than they are taken.
    if (const auto now = std::chrono::steady_clock::now(); now >= look_at_) {
      if (!client_is_there()) throw Disconnected();
      look_at_ = now + kLook;
    }
    if (!channel_->events.empty()) break;
    channel_->changed.wait_for(lock, kLook);
  }
  GenerationEvent event = std::move(channel_->events.front());
  channel_->events.pop_front();
  lock.unlock();
  if (const auto* failed = std::get_if<RequestFailed>(&event)) {
    finished_ = true;
    throw ApiError(failed->overloaded ? 503 : 500, failed->message);
  }
  if (const auto* done = std::get_if<AnswerDone>(&event)) finished_ = done->last;
  return event;
}

OrderedJson Usage::json() const {
  OrderedJson out;
  out["prompt_tokens"] = prompt;
  out["completion_tokens"] = generated;
  out["total_tokens"] = prompt + generated;
  out["prompt_tokens_details"] = {{"cached_tokens", cached}};
  if (cache) {
    out["cache_bytes"] = cache->bytes;
    out["cache_full_bytes"] = cache->full_bytes;
  }
  return out;
}

OrderedJson cache_json(const CacheReport& report) {
  OrderedJson out;
  out["spec"] = report.spec;
  out["tokens"] = report.tokens_seen;
  out["head_dim"] = report.head_dim;
  out["bytes"] = report.bytes;
  out["full_bytes"] = report.full_bytes;
  out["layers"] = OrderedJson::array();
  for (const LayerCacheReport& layer : report.layers) {
    out["layers"].push_back({{"tokens", layer.tokens_kept},
                             {"channels", layer.channels_kept},
                             {"value_channels", layer.value_channels_kept},
                             {"bytes", layer.bytes},
                             {"full_bytes", layer.full_bytes},
                             {"window", layer.sliding_window}});
  }
  return out;
}

std::string new_id(const std::string& prefix) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{}{:016x}{:08x}", prefix, random(), static_cast<std::uint32_t>(random()));
}

double as_written(float value) {
  const std::string text = fmt::format("{}", value);
  double out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace thinkey::server
