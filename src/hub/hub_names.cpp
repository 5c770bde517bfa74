#include "hub/hub_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text_checks.h"

namespace dunlin {
namespace {

constexpr size_t kLongestRepo = 96;
constexpr size_t kLongestQuant = 64;
constexpr size_t kLongestName = 255;  // NAME_MAX of Linux
constexpr size_t kLongestPath = 1024;

bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
  });
}

// Of UTF-8 text: U+0000 to U+001F, U+007F to U+009F. Terminals obey them.
bool has_control_character(std::string_view text) {
  char before = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (before == '\xc2' && byte < 0xa0)) return true;
    before = c;
  }
  return false;
}

Error not_a_model(const std::string& text) {
  return usage_error(
      fmt::format("{}: not a model of the hub; give ORG/NAME, ORG/NAME:QUANT or ORG/NAME/FILE.gguf",
                  quoted_text(text)));
}

}  // namespace

std::string HubModel::text() const {
  if (!file.empty()) return repo + "/" + file;
  return quant.empty() ? repo : repo + ":" + quant;
}

Result<HubModel> parse_hub_model(const std::string& text) {
  constexpr std::string_view kPrefix = "hf:";
  std::string rest = text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : text;
  HubModel model;
  const size_t first = rest.find('/');
  const size_t second = first == std::string::npos ? first : rest.find('/', first + 1);
  if (second != std::string::npos) {
    model.file = rest.substr(second + 1);
    rest.resize(second);
    if (!model.file.ends_with(".gguf") || !path_problem(model.file).empty())
      return not_a_model(text);
  } else if (const size_t colon = rest.find(':'); colon != std::string::npos) {
    model.quant = rest.substr(colon + 1);
    rest.resize(colon);
    if (!is_word(model.quant) || model.quant.size() > kLongestQuant) return not_a_model(text);
  }
  if (!is_repo_id(rest)) return not_a_model(text);
  model.repo = rest;
  return model;
}

bool is_repo_id(std::string_view text) {
  if (text.find("--") != std::string_view::npos || text.find("..") != std::string_view::npos ||
      text.ends_with(".git"))
    return false;
  // Neither begins nor ends with '-' or '.': no path component can be "..", no argument a flag.
  const auto is_part = [](std::string_view part) {
    return is_word(part) && part.size() <= kLongestRepo && part.find_first_of("-.") != 0 &&
           part.find_last_of("-.") != part.size() - 1;
  };
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_part(text);
  return is_part(text.substr(0, slash)) && is_part(text.substr(slash + 1));
}

std::string path_problem(std::string_view path) {
  if (path.empty()) return "is empty";
  if (path.size() > kLongestPath) return fmt::format("is longer than {} bytes", kLongestPath);
  if (!is_utf8(path)) return "is not UTF-8";
  if (path.find('\\') != std::string_view::npos || has_control_character(path))
    return "has a backslash or a control character in it";
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part == ".git")
      return "is not a plain relative path";
    if (part.size() > kLongestName)
      return fmt::format("has a name of more than {} bytes", kLongestName);
    begin = end + 1;
  }
  return {};
}

}  // namespace dunlin
