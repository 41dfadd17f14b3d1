// thinkey serve: many conversations over HTTP.
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/fail.h"
#include "base/format_text.h"
#include "base/stop_signal.h"
#include "base/system_memory.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "engine/scheduler/scheduler.h"
#include "formats/printable.h"
#include "formats/text_file.h"
#include "server/http_server.h"
#include "server/service.h"
#include "thinkey/generate.h"

namespace thinkey::cli {
namespace {

struct Arguments {
  ModelArguments model;
  CacheArgument cache;
  SamplerArguments sampler;
  ChatArguments chat;
  std::vector<std::string> caches;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::vector<std::string> aliases, api_keys, host_names;
  std::string api_key_file, certificate_file, key_file;
  std::size_t context = 0;
  std::int64_t predict = 4096;
  std::string kv_memory;
  std::string cache_directory;
  std::string cache_disk = "16GiB";
  bool cache_shared = false;
  std::string pressure = "evict";
  std::size_t parallel = 16;
  std::size_t queue = 64;
  std::size_t lookup = 0;
  std::size_t connections = 256;
  int timeout = 60;
  std::string body_limit = "32MiB";
  int drain = 30;
  bool log_requests = false;
};

std::size_t byte_option(const std::string& text, const char* option) {
  if (const auto bytes = parse_bytes(text)) return *bytes;
  fail_usage("{}: \"{}\" is not a number of bytes such as 4GiB or 512MiB", option, text);
}

std::vector<std::string> read_keys(const Arguments& arguments) {
  std::vector<std::string> keys = arguments.api_keys;
  if (!arguments.api_key_file.empty()) {
    std::string text = read_text(arguments.api_key_file, TextLimit{.bytes = 1 << 20U, .why = ""});
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string line = text.substr(begin, end - begin);
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) keys.push_back(line);
      begin = end + 1;
    }
  }
  for (const std::string& key : keys) {
    if (key.empty()) fail_usage("--api-key is empty");
  }
  return keys;
}

server::HttpOptions http_options(const Arguments& arguments) {
  server::HttpOptions options;
  options.host = arguments.host;
  options.port = arguments.port;
  options.api_keys = read_keys(arguments);
  options.host_names = arguments.host_names;
  options.connections = arguments.connections;
  options.limits.body = options.limits.write = std::chrono::seconds(arguments.timeout);
  options.limits.body_bytes = byte_option(arguments.body_limit, "--body-limit");
  if (arguments.certificate_file.empty() != arguments.key_file.empty()) {
    fail_usage("--ssl-cert-file and --ssl-key-file belong together");
  }
  options.certificate_file = arguments.certificate_file;
  options.key_file = arguments.key_file;
  if (arguments.log_requests) {
    options.log = [](const std::string& method, const std::string& path, int status) {
      print_message("{} {} {}\n", method, printable(path, 200), status);
    };
  }
  return options;
}

server::ServiceOptions service_options(const Arguments& arguments, const Model& model) {
  server::ServiceOptions options;
  options.names = arguments.aliases;
  if (options.names.empty()) {
    std::string path = arguments.model.model;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    options.names.push_back(std::filesystem::path(path).filename().string());
  }
  if (!model.info().name.empty()) options.names.push_back(model.info().name);
  options.cache = arguments.cache.parse();
  options.any_cache = arguments.caches.empty();
  for (const std::string& spec : arguments.caches) {
    if (spec != "none") options.caches.push_back(CacheSpec::parse(spec));
  }
  options.sampler = arguments.sampler.resolve();
  options.seeded = arguments.sampler.seed != "-1";
  options.chat = arguments.chat.resolve();
  return options;
}

SchedulerOptions scheduler_options(const Arguments& arguments) {
  SchedulerOptions options;
  options.context = arguments.context;
  options.max_tokens = limit_of(arguments.predict);
  options.parallel = arguments.parallel;
  options.queue = arguments.queue;
  options.lookup = arguments.lookup;
  options.compress_idle = arguments.pressure == "compress";
  options.cache_directory = arguments.cache_directory;
  options.cache_shared = arguments.cache_shared;
  options.cache_disk = byte_option(arguments.cache_disk, "--cache-disk");
  if (arguments.kv_memory.empty()) {
    // Prefill needs some as well.
    options.kv_memory = std::max<std::size_t>(available_memory() / 2, std::size_t{64} << 20U);
  } else {
    options.kv_memory = byte_option(arguments.kv_memory, "--kv-memory");
  }
  return options;
}

void wait_for_signal() {
  while (!interrupted()) {
    pollfd poll_{.fd = stop_descriptor(), .events = POLLIN, .revents = 0};
    ::poll(&poll_, 1, 1000);
  }
}

int execute(const Arguments& arguments) {
  if (arguments.chat.has_system()) {
    fail_usage("--system is for conversations; requests bring their own messages");
  }
  static_cast<void>(arguments.cache.parse());
  const server::HttpOptions http = http_options(arguments);
  static_cast<void>(byte_option(arguments.cache_disk, "--cache-disk"));
  if (arguments.cache_shared && arguments.cache_directory.empty()) {
    fail_usage("--cache-shared is about --cache-dir; name a directory");
  }
  server::HttpServer web(http);
  const int port = web.bind();  // before the model is loaded: a port that is taken is soon said

  const auto model = arguments.model.load();
  warn_of_context(*model, arguments.context);
  Scheduler scheduler(model, scheduler_options(arguments));
  server::Service service{.model = model,
                          .scheduler = scheduler,
                          .options = service_options(arguments, *model),
                          .started = std::chrono::duration_cast<std::chrono::seconds>(
                                         std::chrono::system_clock::now().time_since_epoch())
                                         .count()};
  server::add_chat_routes(web, service);
  server::add_completion_routes(web, service);
  server::add_responses_routes(web, service);
  server::add_text_routes(web, service);
  server::add_status_routes(web, service);
  server::add_page_routes(web, service);
  catch_interrupts();
  std::thread serving([&] { web.serve(); });
  const bool v6 = http.host.find(':') != std::string::npos;
  print_message("thinkey: serving {} at {}://{}{}{}:{}, {:.1f} MiB for caches\n", service.options.names[0],
                http.certificate_file.empty() ? "http" : "https", v6 ? "[" : "", http.host, v6 ? "]" : "",
                port, static_cast<double>(scheduler.options().kv_memory) / (1024.0 * 1024.0));
  wait_for_signal();
  print_message("thinkey: ending; answers under way have {} seconds\n", arguments.drain);
  web.stop_accepting();
  scheduler.drain(arguments.drain);
  web.close_idle();
  serving.join();
  return 0;
}

}  // namespace

Command add_serve_command(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  CLI::App* app = program.add_subcommand("serve", "Answer many conversations over HTTP, in OpenAI's API");
  a.model.add_model(*app);
  a.cache.add(*app);
  app->add_option(
         "--allow-cache", a.caches,
         "A cache spec that requests may choose, beside --cache; may be given several times; none: no "
         "other. Without it they may choose any")
      ->type_name("SPEC");
  app->add_option("--host", a.host, "Address to listen on")->type_name("ADDRESS");
  app->add_option("--port", a.port, "Port; 0: any free one")->check(within(0, 65535))->type_name("N");
  app->add_option("-a,--alias", a.aliases, "Name of the model for requests, instead of its file's")
      ->delimiter(',')
      ->type_name("NAME");
  app->add_option("--kv-memory", a.kv_memory,
                  "Most memory of all caches together, such as 4GiB; default: half of what is available")
      ->type_name("BYTES");
  app->add_option("-c,--ctx-size", a.context,
                  "Most tokens of prompt and answer; 0: the model's context length")
      ->check(within<std::size_t>(0, std::numeric_limits<std::int32_t>::max()))
      ->type_name("N");
  app->add_option("-n,--n-predict", a.predict,
                  "Most tokens of an answer where the request does not say; -1: until the context is full")
      ->check(within<std::int64_t>(-1, std::numeric_limits<std::int32_t>::max()))
      ->type_name("N");
  app->add_option("--parallel", a.parallel, "Most answers at once")
      ->check(within<std::size_t>(1, 256))
      ->type_name("N");
  app->add_option("--queue", a.queue, "Most requests waiting; more are refused with 429")
      ->check(within<std::size_t>(1, 100000))
      ->type_name("N");
  app->add_option(
         "--lookup", a.lookup,
         "Draft up to N tokens a step from what was said before, where that is likely to pay, and verify "
         "them in it: the same answers, sooner where they quote; 0: off")
      ->check(within<std::size_t>(0, kMostLookup))
      ->type_name("N");
  app->add_option(
         "--pressure", a.pressure,
         "What a server short of memory does to full caches of idle conversations: evict, or first compress "
         "them (kivi:4)")
      ->check(CLI::IsMember({"evict", "compress"}))
      ->type_name("NAME");
  app->add_option("--cache-dir", a.cache_directory,
                  "Directory for conversations that memory has no room for, and at the end for all")
      ->type_name("PATH");
  app->add_option("--cache-disk", a.cache_disk, "Most bytes in that directory")->type_name("BYTES");
  app->add_flag(
      "--cache-shared", a.cache_shared,
      "Other servers use the directory too: conversations are written as answers end, and found there");
  app->add_option("--api-key", a.api_keys, "Key that requests must show; may be given several times")
      ->type_name("KEY")
      ->envname("THINKEY_API_KEY");
  app->add_option("--api-key-file", a.api_key_file, "File with such keys, one a line")->type_name("FILE");
  app->add_option("--ssl-cert-file", a.certificate_file,
                  "Certificate and its chain in PEM form: the server speaks HTTPS")
      ->type_name("FILE");
  app->add_option("--ssl-key-file", a.key_file, "The certificate's private key in PEM form")
      ->type_name("FILE");
  app->add_option("--allow-host", a.host_names,
                  "A host name by which requests may address a server on this machine's own address")
      ->type_name("NAME");
  app->add_option("--connections", a.connections, "Most connections at once")
      ->check(within<std::size_t>(1, 900))
      ->type_name("N");
  app->add_option("--timeout", a.timeout,
                  "Seconds in which a client must have sent its request, or taken an event")
      ->check(within(1, 86400))
      ->type_name("N");
  app->add_option("--body-limit", a.body_limit, "Largest request")->type_name("BYTES");
  app->add_option("--drain", a.drain, "Seconds that answers under way have after SIGTERM")
      ->check(within(0, 86400))
      ->type_name("N");
  app->add_flag("--log-requests", a.log_requests,
                "A line on standard error for every request: method, path, status");
  a.model.prefill_weights = "auto";  // turns of a conversation are short prompts
  a.model.add_compute(*app);
  a.chat.add(*app);
  a.sampler.add(*app);
  add_examples(
      *app, {"thinkey serve -m model.gguf",
             "thinkey serve -m model.gguf --cache think:0.4 --kv-memory 4GiB --cache-dir ~/.cache/thinkey"});
  return {app, [arguments] { return execute(*arguments); }};
}

}  // namespace thinkey::cli
