#include "smollm2.h"

#include <cstdlib>

#include "base/byte_source.h"

namespace dunlin {

std::string smollm2_path() {
  const char* path = std::getenv("DUNLIN_TEST_MODEL");
  return path == nullptr ? "" : path;
}

const TextModel& smollm2_text() {
  static const TextModel text = load_text_model(*open_checkpoint(smollm2_path()).value());
  return text;
}

nlohmann::ordered_json read_json(const std::string& path_below_tests) {
  const std::string path = std::string(DUNLIN_SOURCE_DIR) + "/tests/" + path_below_tests;
  return nlohmann::ordered_json::parse(read_text_file(path, uint64_t{1} << 24).value());
}

}  // namespace dunlin
