#include "tokenizer/tokenizer_json_reader.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/json_cursor.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

using nlohmann::json;

// Reads one text; the functions read what their names say.
class Reader {
 public:
  explicit Reader(std::string_view text) : cursor_(text) {}
  Result<TokenizerJson> run();
  Result<Vocabulary> vocabulary();  // where it is the whole text

 private:
  Result<void> member();
  Result<void> model_member();
  Result<void> token();
  Result<void> merge();
  Result<OwnedJson<json>> value();
  Result<void> set(json& object, const std::string& name);  // to a value
  // The list of `field` (model.vocab, model.merges), whose errors it names.
  Result<void> field(const char* name, char open, char close, Result<void> (Reader::*item)()) {
    const auto read = cursor_.list(open, close, [this, item] { return (this->*item)(); });
    if (!read.ok()) return read.error().with_context(name);
    return {};
  }

  JsonCursor cursor_;
  TokenizerJson result_;
  std::string token_;  // the text of the token before its id
  std::string bytes_;
  std::string left_;
};

Result<TokenizerJson> Reader::run() {
  if (cursor_.peek() == '{') {
    result_.document.value = json::object();
    DUNLIN_RETURN_IF_ERROR(cursor_.list('{', '}', [this] { return member(); }));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(result_.document, value());
  }
  DUNLIN_RETURN_IF_ERROR(cursor_.end());
  return std::move(result_);
}

Result<Vocabulary> Reader::vocabulary() {
  DUNLIN_RETURN_IF_ERROR(cursor_.list('{', '}', [this] { return token(); }));
  DUNLIN_RETURN_IF_ERROR(cursor_.end());
  return std::move(result_.vocabulary);
}

// A value that becomes part of the document.
Result<OwnedJson<json>> Reader::value() {
  DUNLIN_ASSIGN_OR_RETURN(const std::string_view text, cursor_.skip_value());
  try {
    return parse_json<json>(text);
  } catch (const json::parse_error& error) {
    return model_error(fmt::format("not valid JSON at byte {}", cursor_.skipped_at() + error.byte));
  } catch (const json::out_of_range& error) {
    return model_error(
        fmt::format("a number of the value at byte {} is too large", cursor_.skipped_at() + 1));
  }
}

Result<void> Reader::set(json& object, const std::string& name) {
  DUNLIN_ASSIGN_OR_RETURN(OwnedJson<json> read, value());
  object[name].swap(read.value);  // of a key that occurs twice the last value counts
  return {};
}

Result<void> Reader::member() {
  DUNLIN_ASSIGN_OR_RETURN(const std::string_view key, cursor_.string());
  const std::string name(key);
  DUNLIN_RETURN_IF_ERROR(cursor_.colon());
  if (name == "model" && cursor_.peek() == '{') {
    result_.document.value["model"] = json::object();
    return cursor_.list('{', '}', [this] { return model_member(); });
  }
  return set(result_.document.value, name);
}

Result<void> Reader::model_member() {
  DUNLIN_ASSIGN_OR_RETURN(const std::string_view key, cursor_.string());
  const std::string name(key);
  DUNLIN_RETURN_IF_ERROR(cursor_.colon());
  if (name == "vocab" && cursor_.peek() == '{')
    return field("model.vocab", '{', '}', &Reader::token);
  if (name == "merges" && cursor_.peek() == '[')
    return field("model.merges", '[', ']', &Reader::merge);
  return set(result_.document.value["model"], name);
}

Result<void> Reader::token() {
  DUNLIN_ASSIGN_OR_RETURN(const std::string_view text, cursor_.string());
  token_ = text;
  DUNLIN_RETURN_IF_ERROR(cursor_.colon());
  DUNLIN_ASSIGN_OR_RETURN(const int64_t id, cursor_.integer());
  bytes_.clear();
  // Text outside the byte alphabet (an added token with a space) can only be decoded, never found.
  const bool findable = append_from_byte_alphabet(token_, bytes_);
  return result_.vocabulary.add(id, findable ? bytes_ : token_, findable);
}

// "left right" or ["left", "right"].
Result<void> Reader::merge() {
  if (cursor_.peek() == '"') {
    DUNLIN_ASSIGN_OR_RETURN(const std::string_view both, cursor_.string());
    return result_.merges.add(both);
  }
  if (cursor_.peek() != '[') return cursor_.unexpected();
  const size_t index = result_.merges.size();
  size_t parts = 0;
  DUNLIN_RETURN_IF_ERROR(cursor_.list('[', ']', [&]() -> Result<void> {
    if (cursor_.peek() != '"') return cursor_.unexpected();
    DUNLIN_ASSIGN_OR_RETURN(const std::string_view part, cursor_.string());
    if (++parts == 1) left_ = part;
    if (parts == 2) return result_.merges.add(left_, part);
    return {};
  }));
  if (parts == 2) return {};
  return model_error(fmt::format("merge {} has {} parts instead of 2", index, parts));
}

// JsonCursor wants it.
Result<void> check_utf8(std::string_view text) {
  const size_t valid = valid_utf8_prefix(text);
  if (valid == text.size()) return {};
  return model_error(fmt::format("not valid JSON at byte {}", valid + 1));
}

}  // namespace

Result<TokenizerJson> read_tokenizer_json(std::string_view text) {
  DUNLIN_RETURN_IF_ERROR(check_utf8(text));
  return Reader(text).run();
}

Result<Vocabulary> read_vocabulary_json(std::string_view text) {
  DUNLIN_RETURN_IF_ERROR(check_utf8(text));
  return Reader(text).vocabulary();
}

}  // namespace dunlin
