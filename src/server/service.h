// What the handlers of the API share.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "server/http_server.h"
#include "thinkey/chat.h"
#include "thinkey/model.h"
#include "thinkey/sampler.h"

namespace thinkey::server {

class VocabularyTrie;

struct ServiceOptions {
  std::vector<std::string> names;      // by which requests call the model; the first is its id
  CacheSpec cache;                     // of requests that do not say
  bool any_cache = true;               // requests may choose another
  std::vector<CacheSpec> caches = {};  // that they may choose, if not any
  SamplerOptions sampler;              // what requests do not say; the seed is drawn for each
  bool seeded = false;                 // the seed is sampler.seed instead
  ChatOptions chat;                    // template and its variables
};

struct Service {
  std::shared_ptr<const Model> model;
  Scheduler& scheduler;
  ServiceOptions options;
  std::int64_t started = 0;  // seconds since 1970

  // Made when the first constrained answer needs it.
  [[nodiscard]] std::shared_ptr<const VocabularyTrie> vocabulary();

  std::once_flag vocabulary_once = {};
  std::shared_ptr<const VocabularyTrie> vocabulary_trie = {};
};

// Paths are added to the server; the service must outlive it.
void add_chat_routes(HttpServer& server, Service& service);
void add_completion_routes(HttpServer& server, Service& service);
void add_responses_routes(HttpServer& server, Service& service);
void add_text_routes(HttpServer& server, Service& service);    // tokenize, detokenize, apply-template
void add_status_routes(HttpServer& server, Service& service);  // models, health, props, metrics, slots
void add_page_routes(HttpServer& server, Service& service);    // the page and /openapi.json

}  // namespace thinkey::server
