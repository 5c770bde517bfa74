#include "cli/answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/offload_report.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

double per_second(int64_t count, double milliseconds) {
  return milliseconds > 0 ? static_cast<double>(count) * 1e3 / milliseconds : 0.0;
}

double prompt_per_second(const RequestStats& stats) {
  return per_second(stats.prompt_tokens - stats.cached_tokens, stats.prompt_ms);
}

// The first answer token falls to the prompt's time, as in the field's tools.
double predicted_per_second(const RequestStats& stats) {
  return per_second(std::max<int64_t>(0, stats.predicted_tokens - 1), stats.predicted_ms);
}

double tokens_per_forward(const Answer& answer, int64_t passes) {
  if (passes == 0) return 0.0;
  return static_cast<double>(answer.stats.predicted_tokens) / static_cast<double>(passes);
}

bool made_any(const DevicePrograms& programs) {
  return programs.compiled + programs.loaded > 0;
}

Json calls_json(const std::vector<ToolCall>& calls) {
  Json list = Json::array();
  for (const ToolCall& call : calls)
    list.push_back({{"name", call.name}, {"arguments", call.arguments}});
  return list;
}

}  // namespace

void Answer::receive(const Event& event) {
  if (!event.text.empty() && below_heading_) {
    show_heading("final");
    below_heading_ = false;
  }
  text += event.text;
  shown += event.text;
  for (const ChannelText& piece : event.channels) receive_beside(piece);
  if (event.token.has_value()) ids.push_back(*event.token);
  if (event.kind == Event::Kind::token) return;
  done = true;
  reason = event.reason;
  stats = event.stats;
  error = event.error;
}

void Answer::receive_beside(const ChannelText& piece) {
  const bool call = !piece.recipient.empty();
  // A prompt may end within a message, of which no beginning comes.
  if (piece.begins || !said_beside_) {
    said_beside_ = true;
    if (call) calls.push_back({.name = piece.recipient});
    if (!call && !reasoning.empty()) reasoning += "\n\n";
    if (show_reasoning) {
      show_heading(call ? fmt::format("{} to {}", piece.channel, piece.recipient) : piece.channel);
      below_heading_ = true;
    }
  }
  (call ? calls.back().arguments : reasoning) += piece.text;
  if (show_reasoning) shown += piece.text;
}

void Answer::show_heading(const std::string& heading) {
  shown += fmt::format("{}[{}]\n", shown.empty() ? "" : "\n\n", heading);
}

std::string thinking_text(const Answer& answer) {
  const bool hidden = !answer.reasoning.empty() || !answer.calls.empty();
  if (!hidden || answer.done || answer.show_reasoning || !answer.text.empty()) return {};
  return fmt::format("thinking {} token{}", answer.ids.size(), answer.ids.size() == 1 ? "" : "s");
}

std::string empty_answer_note(const Answer& answer) {
  if (!answer.text.empty() || answer.show_reasoning) return {};
  if (!answer.calls.empty()) {
    return fmt::format(
        "note     the answer is empty: the model calls {}, which is not here "
        "(--show-reasoning shows the call)\n",
        answer.calls.back().name);
  }
  if (answer.reasoning.empty()) return {};
  const char* const cure = answer.reason == FinishReason::length ? "-n gives it more tokens, " : "";
  return fmt::format(
      "note     the answer is empty: the model was still thinking ({}--show-reasoning shows it)\n",
      cure);
}

Json answer_json(const Answer& answer, const Model& model) {
  const RequestStats& stats = answer.stats;
  Json kernels = Json::object();
  for (const auto& [operation, kernel] : model.executable->kernels()) kernels[operation] = kernel;
  Json backend = {{"name", model.options.backend},
                  {"isa", model.executable->isa()},
                  {"threads", model.executable->threads()},
                  {"kernels", std::move(kernels)}};
  if (model.options.backend == "cpu") backend["packed_before"] = model.packed_before;
  if (const DevicePrograms programs = model.executable->programs(); made_any(programs)) {
    backend["programs"] = {{"compiled", programs.compiled},
                           {"loaded", programs.loaded},
                           {"seconds", programs.seconds}};
  }
  if (const auto offload = model.executable->offload()) backend["offload"] = offload_json(offload);
  Json object = {{"schema_version", 1}, {"text", answer.text}};
  if (model.text.harmony.has_value()) {
    object["reasoning"] = answer.reasoning;
    object["tool_calls"] = calls_json(answer.calls);
  }
  object.update({{"prompt_ids", answer.prompt_ids},
                 {"ids", answer.ids},
                 {"finish_reason", answer.reason == FinishReason::stop ? "stop" : "length"},
                 {"seed", answer.seed},
                 {"timings",
                  {{"load_ms", model.load_ms},
                   {"prompt_n", stats.prompt_tokens},
                   {"cache_n", stats.cached_tokens},
                   {"prompt_ms", stats.prompt_ms},
                   {"prompt_per_second", prompt_per_second(stats)},
                   {"predicted_n", stats.predicted_tokens},
                   {"predicted_ms", stats.predicted_ms},
                   {"predicted_per_second", predicted_per_second(stats)}}},
                 {"backend", std::move(backend)}});
  if (answer.forward_passes.has_value()) {
    // All tokens come at once: none of them is the prompt's.
    object["timings"]["predicted_per_second"] =
        per_second(stats.predicted_tokens, stats.predicted_ms);
    object["forward_passes"] = *answer.forward_passes;
    object["tokens_per_forward"] = tokens_per_forward(answer, *answer.forward_passes);
  }
  if (!answer.infilled_ids.empty()) {
    object["infilled_ids"] = answer.infilled_ids;
    object["infilled_text"] = answer.infilled_text;
  }
  return object;
}

std::string json_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string programs_text(const DevicePrograms& programs) {
  if (!made_any(programs)) return {};
  return fmt::format("programs {} compiled, {} loaded in {:.1f} s\n", programs.compiled,
                     programs.loaded, programs.seconds);
}

std::string timings_text(const RequestStats& stats) {
  const std::string cached =
      stats.cached_tokens > 0 ? fmt::format(" ({} cached)", stats.cached_tokens) : std::string();
  return fmt::format(
      "prompt   {} tokens{} in {:.0f} ms ({:.1f} per second)\n"
      "answer   {} tokens in {:.0f} ms ({:.1f} per second)\n",
      stats.prompt_tokens, cached, stats.prompt_ms, prompt_per_second(stats),
      stats.predicted_tokens, stats.predicted_ms, predicted_per_second(stats));
}

std::string timings_text(const Answer& answer) {
  const RequestStats& stats = answer.stats;
  if (!answer.forward_passes.has_value()) return timings_text(stats);
  return fmt::format(
      "answer   {} tokens in {:.0f} ms ({:.1f} per second), {} forward passes ({:.2f} tokens per "
      "forward)\n",
      stats.predicted_tokens, stats.predicted_ms,
      per_second(stats.predicted_tokens, stats.predicted_ms), *answer.forward_passes,
      tokens_per_forward(answer, *answer.forward_passes));
}

}  // namespace dunlin
