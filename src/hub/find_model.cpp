#include "hub/find_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "hub/ollama_store.h"
#include "hub/pull.h"

namespace dunlin {
namespace {

constexpr std::string_view kHub = "hf:";
constexpr std::string_view kOllama = "ollama:";

Result<FoundModel> find_in_hub_cache(const HubModel& model) {
  HubSettings settings;
  settings.offline = true;
  DUNLIN_ASSIGN_OR_RETURN(settings.cache, hub_cache_folder());
  DUNLIN_ASSIGN_OR_RETURN(const PullPlan plan, Pull(settings, {}, {.model = model}).plan());
  return FoundModel{.path = plan.path, .note = plan.note};
}

Result<FoundModel> find_in_ollama(const OllamaStore& store, const std::string& name) {
  DUNLIN_ASSIGN_OR_RETURN(const OllamaModel model, store.open(name));
  FoundModel found{.path = model.gguf};
  if (!model.unused.empty()) {
    found.note = fmt::format(
        "ollama's own {} of {} are not used: template and settings are those of the GGUF file",
        fmt::join(model.unused, ", "), name);
  }
  return found;
}

// A name of two parts may be a path with a mistake in it; one that ends like a file is nothing else.
bool may_be_hub_model(const std::string& name) {
  constexpr std::string_view kFiles[] = {".gguf", ".json", ".safetensors"};
  const auto slashes = std::ranges::count(name, '/');
  const bool file = std::ranges::any_of(
      kFiles, [&](std::string_view extension) { return name.ends_with(extension); });
  return slashes == 1 ? !file : slashes > 1;
}

}  // namespace

Result<FoundModel> find_model(const std::string& name) {
  std::error_code ignored;
  const auto type = std::filesystem::symlink_status(name, ignored).type();
  if (type > std::filesystem::file_type::not_found) return FoundModel{.path = name};
  const auto store = OllamaStore::find();
  if (name.starts_with(kOllama)) {
    const std::string rest = name.substr(kOllama.size());
    if (store) return find_in_ollama(*store, rest);
    return model_error(fmt::format(
        "{}: no store of ollama here; OLLAMA_MODELS names one that is elsewhere", name));
  }
  if (name.starts_with(kHub)) {
    DUNLIN_ASSIGN_OR_RETURN(const HubModel model, parse_hub_model(name));
    return find_in_hub_cache(model);
  }
  if (store && store->has(name)) return find_in_ollama(*store, name);
  const auto model = parse_hub_model(name);
  if (!model.ok() || !may_be_hub_model(name)) return FoundModel{.path = name};
  const auto found = find_in_hub_cache(*model);
  if (found.ok()) return found;
  return Error{found.error().kind, fmt::format("{}: no such file; as a model of the hub: {}", name,
                                               found.error().message)};
}

}  // namespace dunlin
