#include "hub/select_files.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/ascii.h"
#include "base/text_checks.h"

namespace dunlin {
namespace {

using Names = std::vector<std::string>;

constexpr const char* kDefaultQuant = "Q4_K_M";
constexpr size_t kMostShown = 12;  // names in a message

bool fits_any(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&](std::string pattern) {
    if (pattern.ends_with('/')) pattern += '*';  // a folder, as huggingface_hub has it
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

std::string base_name(const std::string& name) {
  return name.substr(name.rfind('/') + 1);
}

// "model-00002-of-00003.gguf" as "model", 2, 3, ".gguf".
struct Part {
  std::string stem = {}, extension = {};
  int index = 0, count = 0;
};

std::optional<Part> part_of(const std::string& name) {
  constexpr size_t kLength = std::string_view("-00001-of-00003").size();
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot < kLength) return std::nullopt;
  const std::string mark = name.substr(dot - kLength, kLength);
  for (size_t i = 0; i < kLength; ++i) {
    const char wanted = "-ddddd-of-ddddd"[i];
    const bool digit = mark[i] >= '0' && mark[i] <= '9';
    if (wanted == 'd' ? !digit : mark[i] != wanted) return std::nullopt;
  }
  Part part{.stem = name.substr(0, dot - kLength),
            .extension = name.substr(dot),
            .index = std::stoi(mark.substr(1, 5)),
            .count = std::stoi(mark.substr(10, 5))};
  if (part.index < 1 || part.index > part.count) return std::nullopt;
  return part;
}

std::string part_name(const Part& part, int index) {
  return fmt::format("{}-{:05}-of-{:05}{}", part.stem, index, part.count, part.extension);
}

// Weights of a model, not of what is beside it: a vision projector, an importance matrix.
bool is_gguf_model(const std::string& name) {
  const std::string base = ascii_upper(base_name(name));
  return base.ends_with(".GGUF") && base.find("MMPROJ") == std::string::npos &&
         base.find("IMATRIX") == std::string::npos;
}

// Whether the file name, or the folder it is in, has `quant` as a word: Q4_K is not in Q4_K_M.
bool has_quant(const std::string& name, const std::string& quant) {
  const std::string text = ascii_upper(name), word = ascii_upper(quant);
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const char before = at == 0 ? '-' : text[at - 1];
    const size_t end = at + word.size();
    const char after = end == text.size() ? '-' : text[end];
    if (!is_alphanumeric(before) && !is_alphanumeric(after) && after != '_') return true;
  }
  return false;
}

std::string list_text(const Names& names) {
  Names shown;
  for (size_t i = 0; i < std::min(names.size(), kMostShown); ++i)
    shown.push_back(quoted_text(names[i]));
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > kMostShown ? ", ..." : "");
}

// GGUF models of the repository: one name for each, the first of its parts.
Names gguf_models(const Names& names) {
  Names models;
  for (const std::string& name : names) {
    const auto part = part_of(name);
    if (is_gguf_model(name) && (!part || part->index == 1)) models.push_back(name);
  }
  std::ranges::sort(models);
  return models;
}

// All parts of the model that `name` is, or is a part of.
Names parts_of(const std::string& name) {
  const auto part = part_of(name);
  if (!part) return {name};
  Names parts;
  for (int i = 1; i <= part->count; ++i) parts.push_back(part_name(*part, i));
  return parts;
}

Result<SelectedFiles> gguf_selection(const HubModel& model, const std::string& name,
                                     const Names& names) {
  SelectedFiles selected{.names = parts_of(name)};
  const std::set<std::string> known(names.begin(), names.end());
  for (const std::string& part : selected.names) {
    if (!known.contains(part))
      return model_error(fmt::format("{}: no file {} there", model.repo, quoted_text(part)));
  }
  return selected;
}

Result<SelectedFiles> select_gguf(const HubModel& model, const Names& names) {
  if (!model.file.empty()) return gguf_selection(model, model.file, names);
  const Names models = gguf_models(names);
  if (models.empty()) return model_error(fmt::format("{}: no GGUF file there", model.repo));
  const std::string quant = model.quant.empty() ? kDefaultQuant : model.quant;
  Names fitting;
  std::ranges::copy_if(models, std::back_inserter(fitting),
                       [&](const std::string& name) { return has_quant(name, quant); });
  if (fitting.size() > 1) {
    return usage_error(fmt::format("{}: {} fits {}; name one: {}/{}", model.repo, quant,
                                   list_text(fitting), model.repo, fitting.front()));
  }
  if (fitting.empty() && !model.quant.empty()) {
    return model_error(
        fmt::format("{}: no file fits {}; there are {}", model.repo, quant, list_text(models)));
  }
  const std::string chosen = fitting.empty() ? models.front() : fitting.front();
  DUNLIN_ASSIGN_OR_RETURN(SelectedFiles selected, gguf_selection(model, chosen, names));
  if (fitting.empty() && models.size() > 1)
    selected.note = fmt::format("no {} there: taking {}", quant, quoted_text(chosen));
  return selected;
}

// What src/checkpoint and src/tokenizer read of a Hugging Face directory, but for the weights.
bool is_configuration(const std::string& name) {
  static const std::vector<std::string> kPatterns = {"config.json", "generation_config.json",
                                                     "special_tokens_map.json", "tokenizer*",
                                                     "chat_template*"};
  return name.find('/') == std::string::npos && fits_any(name, kPatterns);
}

bool contains(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

Names directory_weights(const Names& names) {
  constexpr const char* kSingle = "model.safetensors";
  constexpr const char* kIndex = "model.safetensors.index.json";
  Names all, shards;
  for (const std::string& name : names) {
    if (name.find('/') != std::string::npos || !name.ends_with(".safetensors")) continue;
    all.push_back(name);
    if (name.starts_with("model-")) shards.push_back(name);
  }
  if (std::ranges::find(names, kSingle) != names.end()) return {kSingle};
  if (std::ranges::find(names, kIndex) == names.end()) return all;
  Names with_index = shards.empty() ? all : shards;
  if (!with_index.empty()) with_index.emplace_back(kIndex);
  return with_index;
}

Error no_weights(const HubModel& model, const Names& names) {
  constexpr std::array<std::string_view, 5> kPickles = {".bin", ".pth", ".pt", ".pkl", ".ckpt"};
  for (const std::string& name : names) {
    if (std::ranges::any_of(kPickles, [&](std::string_view end) { return name.ends_with(end); })) {
      return model_error(
          fmt::format("{}: only pickled weights ({}), and reading them runs code; "
                      "tools/pickle_to_safetensors.py converts what you trust",
                      model.repo, quoted_text(name)));
    }
  }
  return model_error(fmt::format("{}: neither safetensors nor GGUF files there", model.repo));
}

Result<SelectedFiles> select_directory(const HubModel& model, const Names& names) {
  SelectedFiles selected{.names = directory_weights(names)};
  if (selected.names.empty()) {
    if (gguf_models(names).empty()) return no_weights(model, names);
    return select_gguf(model, names);
  }
  std::ranges::copy_if(names, std::back_inserter(selected.names), is_configuration);
  // In place of a tokenizer.json, as Dream's.
  if (!contains(names, "tokenizer.json")) {
    for (const char* name : {"vocab.json", "merges.txt"}) {
      if (contains(names, name)) selected.names.emplace_back(name);
    }
  }
  return selected;
}

Result<SelectedFiles> select_by_kind(const HubModel& model, const Names& names,
                                     const FileChoice& choice) {
  if (!choice.include.empty()) {
    SelectedFiles selected;
    std::ranges::copy_if(names, std::back_inserter(selected.names),
                         [&](const std::string& name) { return fits_any(name, choice.include); });
    return selected;
  }
  return model.file.empty() && model.quant.empty() ? select_directory(model, names)
                                                   : select_gguf(model, names);
}

}  // namespace

Result<SelectedFiles> select_files(const HubModel& model, const Names& names,
                                   const FileChoice& choice) {
  DUNLIN_ASSIGN_OR_RETURN(SelectedFiles selected, select_by_kind(model, names, choice));
  std::erase_if(selected.names,
                [&](const std::string& name) { return fits_any(name, choice.exclude); });
  if (selected.names.empty())
    return model_error(fmt::format("{}: no file fits --include and --exclude", model.repo));
  std::ranges::sort(selected.names);
  selected.names.erase(std::unique(selected.names.begin(), selected.names.end()),
                       selected.names.end());
  const Names models = gguf_models(selected.names);
  const bool one = models.size() == 1 && directory_weights(selected.names).empty();
  selected.gguf = one ? models.front() : std::string();
  for (const std::string& name : selected.names) {
    if (const std::string problem = path_problem(name); !problem.empty()) {
      return model_error(
          fmt::format("{}: refused: the file name {} {}", model.repo, quoted_text(name), problem));
    }
  }
  return selected;
}

std::string missing_part(const Names& names) {
  std::map<std::string, std::set<int>> present;  // indices by the name of the first part
  for (const std::string& name : names) {
    if (const auto part = part_of(name)) present[part_name(*part, 1)].insert(part->index);
  }
  for (const auto& [first, indices] : present) {
    const Part part = *part_of(first);
    for (int i = 1; i <= part.count; ++i) {
      if (!indices.contains(i)) return part_name(part, i);
    }
  }
  return {};
}

}  // namespace dunlin
