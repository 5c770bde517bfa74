#include "cli/model_name.h"

#include <map>
#include <utility>

#include "hub/find_model.h"

namespace dunlin {
namespace {

std::map<std::string, std::string>& notes() {
  static std::map<std::string, std::string> notes_of_paths;
  return notes_of_paths;
}

}  // namespace

ModelNotFound::ModelNotFound(dunlin::Error error)
    : CLI::ParseError(error.message, static_cast<int>(error.kind)), error_(std::move(error)) {}

CLI::Validator model_name() {
  return CLI::Validator(
      [](std::string& text) {
        auto found = find_model(text);
        if (!found.ok()) throw ModelNotFound(found.error());
        if (!found->note.empty()) notes()[found->path] = found->note;
        text = found->path;
        return std::string();
      },
      "");
}

std::string model_note(const std::string& path) {
  const auto it = notes().find(path);
  return it == notes().end() ? std::string() : it->second;
}

}  // namespace dunlin
