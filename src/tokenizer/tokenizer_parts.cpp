#include "tokenizer/tokenizer_parts.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/byte_source.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;  // holds a chat template; Llama 3: 50 KiB
constexpr const char* kVocabularyFile = "/vocab.json";
constexpr const char* kMergesFile = "/merges.txt";
constexpr const char* kConfigFile = "/tokenizer_config.json";

// Files write the tokens of the vocabulary in the byte alphabet, and added tokens as plain text.
bool is_token_text(std::string_view content, std::string_view token_bytes) {
  if (content == token_bytes) return true;
  std::string bytes;
  return append_from_byte_alphabet(content, bytes) && bytes == token_bytes;
}

bool is_there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

Result<NamedText> read_named(const std::string& path, uint64_t limit) {
  NamedText named{.origin = path};
  DUNLIN_ASSIGN_OR_RETURN(named.text, read_text_file(path, limit));
  return named;
}

Result<TokenizerParts> read_vocabulary_files(const std::string& directory) {
  DUNLIN_ASSIGN_OR_RETURN(const NamedText vocabulary,
                          read_named(directory + kVocabularyFile, kMaxTokenizerJsonBytes));
  DUNLIN_ASSIGN_OR_RETURN(const NamedText merges,
                          read_named(directory + kMergesFile, kMaxTokenizerJsonBytes));
  DUNLIN_ASSIGN_OR_RETURN(const NamedText config,
                          read_named(directory + kConfigFile, kMaxConfigBytes));
  return parse_vocab_json(vocabulary, merges, config);
}

}  // namespace

Result<void> TokenizerParts::add(AddedToken token) {
  const std::string& content = token.content;
  if (content.empty() || content.size() > AddedTokenMatcher::kMaxContent) {
    return model_error(fmt::format("the added token {} has {} bytes, outside 1..{}", token.id,
                                   content.size(), AddedTokenMatcher::kMaxContent));
  }
  if (!is_valid_utf8(content))
    return model_error(fmt::format("the added token {} is not UTF-8", token.id));
  if (!vocabulary.contains(token.id)) {
    DUNLIN_RETURN_IF_ERROR(vocabulary.add(token.id, content, false));
  } else if (!is_token_text(content, vocabulary.bytes(token.id))) {
    return model_error(fmt::format("the added token {:?} has the id {}, which is the token {:?}",
                                   content, token.id, vocabulary.bytes(token.id)));
  }
  if (!added_ids.emplace(content, token.id).second) {
    return model_error(fmt::format("the added token {:?} is there twice", content));
  }
  added_tokens.push_back(std::move(token));
  return {};
}

std::optional<int32_t> TokenizerParts::added_id(std::string_view content) const {
  const auto it = added_ids.find(content);
  if (it == added_ids.end()) return std::nullopt;
  return it->second;
}

std::string tokenizer_file(const std::string& directory) {
  std::string path = directory + "/tokenizer.json";
  if (is_there(path)) return path;
  path = directory + kVocabularyFile;
  return is_there(path) && is_there(directory + kMergesFile) ? path : std::string();
}

Result<TokenizerParts> read_tokenizer_directory(const std::string& directory) {
  const std::string path = directory + "/tokenizer.json";
  const std::string config_path = directory + kConfigFile;
  if (tokenizer_file(directory) == directory + kVocabularyFile)
    return read_vocabulary_files(directory);
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMaxTokenizerJsonBytes));
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, parse_tokenizer_json(text, path));
  if (is_there(config_path)) {
    DUNLIN_ASSIGN_OR_RETURN(const std::string config, read_text_file(config_path, kMaxConfigBytes));
    DUNLIN_RETURN_IF_ERROR(apply_tokenizer_config(config, config_path, parts));
  }
  return parts;
}

}  // namespace dunlin
