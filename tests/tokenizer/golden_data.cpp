#include "golden_data.h"

#include <gtest/gtest.h>

#include "base/byte_source.h"

namespace dunlin {

std::string golden_path(const std::string& name) {
  return std::string(DUNLIN_SOURCE_DIR) + "/tests/tokenizer/data/" + name;
}

nlohmann::json load_golden_json(const std::string& name) {
  return nlohmann::json::parse(read_text_file(golden_path(name), uint64_t{1} << 24).value());
}

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

const std::vector<std::string>& corpus() {
  static const std::vector<std::string> texts = [] {
    std::vector<std::string> list;
    for (const auto& entry : load_golden_json("corpus.json")) {
      if (entry.is_string()) {
        list.push_back(entry.get<std::string>());
        continue;
      }
      list.push_back(bytes_of_hex(entry["hex"].get<std::string>()));
    }
    return list;
  }();
  return texts;
}

std::shared_ptr<const Tokenizer> small_tokenizer(const std::string& name) {
  return Tokenizer::from_json_file(golden_path(name + "/tokenizer.json")).value();
}

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text, bool parse_special) {
  return tokenizer.encode(text, parse_special).value();
}

void expect_golden_ids(const Tokenizer& tokenizer, const std::string& name) {
  const auto golden = load_golden_json(name + ".ids.json");
  const std::vector<std::string>& texts = corpus();
  ASSERT_EQ(golden["ids"].size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(name + ": text " + std::to_string(i) + ": " + testing::PrintToString(texts[i]));
    const auto ids = golden["ids"][i].get<std::vector<int32_t>>();
    EXPECT_EQ(encode(tokenizer, texts[i], true), ids);
    const auto& no_special = golden["no_special"];
    const auto different = no_special.find(std::to_string(i));
    const auto plain = different == no_special.end() ? ids : different->get<std::vector<int32_t>>();
    EXPECT_EQ(encode(tokenizer, texts[i], false), plain);
  }
}

}  // namespace dunlin
