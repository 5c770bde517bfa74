#include "cli/model_name.h"

#include <map>

#include "hub/find_model.h"

namespace dunlin {
namespace {

std::map<std::string, std::string>& notes() {
  static std::map<std::string, std::string> notes_of_paths;
  return notes_of_paths;
}

}  // namespace

Result<std::string> resolve_model(const std::string& name) {
  DUNLIN_ASSIGN_OR_RETURN(const FoundModel found, find_model(name));
  if (!found.note.empty()) notes()[found.path] = found.note;
  return found.path;
}

std::string model_note(const std::string& path) {
  const auto it = notes().find(path);
  return it == notes().end() ? std::string() : it->second;
}

}  // namespace dunlin
