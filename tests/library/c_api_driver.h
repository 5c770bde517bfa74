// What the tests of the C API share: engines, requests, and events that are collected.
#pragma once

#include <dunlin/dunlin.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

using Ids = std::vector<int32_t>;

struct FreeEngine {
  void operator()(dunlin_engine* engine) const { dunlin_engine_free(engine); }
};
using EnginePtr = std::unique_ptr<dunlin_engine, FreeEngine>;

inline dunlin_load_options one_thread() {
  dunlin_load_options options = {};
  options.struct_size = sizeof options;
  options.threads = 1;
  return options;
}

inline EnginePtr load(const std::string& path, const dunlin_load_options& options = one_thread()) {
  dunlin_engine* engine = nullptr;
  EXPECT_EQ(dunlin_engine_load(path.c_str(), &options, &engine), DUNLIN_OK) << dunlin_last_error();
  return EnginePtr(engine);
}

inline dunlin_sampling greedy() {
  dunlin_sampling sampling = {};
  sampling.struct_size = sizeof sampling;
  sampling.top_p = 1;
  sampling.repeat_penalty = 1;
  return sampling;
}

struct Collected {
  Ids ids = {};
  std::string text = {};
  int events = 0;
  int stop_after = -1;  // events
  dunlin_event last = {};
  std::string error = {};
};

inline int collect(void* user, const dunlin_event* event) {
  auto& collected = *static_cast<Collected*>(user);
  EXPECT_EQ(event->struct_size, sizeof *event);
  EXPECT_EQ(std::strlen(event->text), event->text_size);
  if (event->kind == DUNLIN_EVENT_TOKEN && event->token >= 0) collected.ids.push_back(event->token);
  collected.text += event->text;
  collected.last = *event;
  if (event->error != nullptr) collected.error = event->error;
  return ++collected.events == collected.stop_after;
}

// Its pointers are into `prompt`, `sampling` and `collected`.
inline dunlin_request request_of(const Ids& prompt, const dunlin_sampling& sampling,
                                 int64_t max_tokens, Collected& collected) {
  dunlin_request request = {};
  request.struct_size = sizeof request;
  request.prompt = prompt.data();
  request.prompt_count = prompt.size();
  request.max_tokens = max_tokens;
  request.on_event = collect;
  request.user = &collected;
  request.sampling = &sampling;
  request.ignore_eos = 1;
  return request;
}
