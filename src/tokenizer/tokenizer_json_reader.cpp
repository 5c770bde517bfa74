#include "tokenizer/tokenizer_json_reader.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "base/checked.h"
#include "tokenizer/byte_alphabet.h"

namespace dunlin {
namespace {

using nlohmann::json;

// Receives nlohmann's parsing events. A handler returns false to stop; error_ then says why.
class Reader final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return place_ == Place::document ? insert(nullptr) : unexpected("null"); }
  bool boolean(bool value) override {
    return place_ == Place::document ? insert(value) : unexpected("a boolean");
  }
  bool number_integer(int64_t value) override { return integer(value); }
  bool number_unsigned(uint64_t value) override {
    const auto number = checked_cast<int64_t>(value);
    if (!number) return fail(model_error(fmt::format("the number {} is too large", value)));
    return integer(*number);
  }
  bool number_float(double value, const std::string&) override {
    return place_ == Place::document ? insert(value) : unexpected("a fraction");
  }
  bool string(std::string& value) override;
  bool binary(json::binary_t&) override { return unexpected("binary data"); }
  bool start_object(size_t) override;
  bool key(std::string& name) override;
  bool end_object() override;
  bool start_array(size_t) override;
  bool end_array() override;
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return fail(model_error(fmt::format("not valid JSON at byte {}", position)));
  }

  Result<TokenizerJson> finish(bool parsed) && {
    if (!parsed) return error_.value_or(model_error("not valid JSON"));
    return std::move(result_);
  }

 private:
  enum class Place { document, vocab, merges, merge_pair };

  bool integer(int64_t value);
  bool insert(json value);
  bool open(json container);
  bool is_inside_model(std::string_view field) const {
    return keys_.size() == 2 && keys_[0] == "model" && keys_[1] == field;
  }
  bool unexpected(const char* what);
  bool fail(Error error) {
    error_ = std::move(error);
    return false;
  }
  bool check(const Result<void>& result, const char* field) {
    return result.ok() || fail(result.error().with_context(field));
  }

  TokenizerJson result_;
  std::optional<Error> error_;
  Place place_ = Place::document;
  std::vector<json*> open_;        // containers of the document, the innermost last
  std::vector<std::string> keys_;  // the current key of each; empty in an array
  size_t values_ = 0;
  std::string token_;              // in vocab: the key before its id
  std::vector<std::string> pair_;  // in merge_pair
};

bool Reader::unexpected(const char* what) {
  const char* field = place_ == Place::vocab ? "model.vocab" : "model.merges";
  return fail(model_error(fmt::format("{}: {} is not expected there", field, what)));
}

bool Reader::insert(json value) {
  if (++values_ > kMaxJsonValues) {
    return fail(model_error(
        fmt::format("more than {} values outside model.vocab and model.merges", kMaxJsonValues)));
  }
  if (open_.empty()) {
    result_.document = std::move(value);
  } else if (open_.back()->is_array()) {
    open_.back()->push_back(std::move(value));
  } else {
    (*open_.back())[keys_.back()] = std::move(value);
  }
  return true;
}

bool Reader::open(json container) {
  if (open_.size() >= kMaxJsonDepth) {
    return fail(model_error(fmt::format("nested deeper than {} levels", kMaxJsonDepth)));
  }
  if (!insert(std::move(container))) return false;
  json* opened = &result_.document;
  if (!open_.empty()) {
    opened = open_.back()->is_array() ? &open_.back()->back() : &(*open_.back())[keys_.back()];
  }
  open_.push_back(opened);
  keys_.emplace_back();
  return true;
}

bool Reader::start_object(size_t) {
  if (place_ != Place::document) return unexpected("an object");
  if (is_inside_model("vocab")) {
    place_ = Place::vocab;
    return true;
  }
  return open(json::object());
}

bool Reader::key(std::string& name) {
  if (place_ == Place::vocab) {
    token_ = std::move(name);
  } else {
    keys_.back() = std::move(name);
  }
  return true;
}

bool Reader::end_object() {
  if (place_ == Place::vocab) {
    place_ = Place::document;
  } else {
    open_.pop_back();
    keys_.pop_back();
  }
  return true;
}

bool Reader::start_array(size_t) {
  if (place_ == Place::merges) {
    place_ = Place::merge_pair;
    pair_.clear();
    return true;
  }
  if (place_ != Place::document) return unexpected("an array");
  if (is_inside_model("merges")) {
    place_ = Place::merges;
    return true;
  }
  return open(json::array());
}

bool Reader::end_array() {
  if (place_ == Place::merge_pair) {
    place_ = Place::merges;
    if (pair_.size() != 2) {
      return fail(model_error(fmt::format("model.merges: merge {} has {} parts instead of 2",
                                          result_.merges.size(), pair_.size())));
    }
    return check(result_.merges.add(pair_[0], pair_[1]), "model.merges");
  }
  if (place_ == Place::merges) {
    place_ = Place::document;
  } else {
    open_.pop_back();
    keys_.pop_back();
  }
  return true;
}

bool Reader::string(std::string& value) {
  switch (place_) {
    case Place::document:
      return insert(std::move(value));
    case Place::vocab:
      return unexpected("a string");
    case Place::merges:
      return check(result_.merges.add(value), "model.merges");
    case Place::merge_pair:
      if (pair_.size() == 2) return unexpected("a third part of a merge");
      pair_.push_back(std::move(value));
      return true;
  }
  return false;
}

bool Reader::integer(int64_t value) {
  if (place_ == Place::document) return insert(value);
  if (place_ != Place::vocab) return unexpected("a number");
  std::string bytes;
  // Text outside the byte alphabet (an added token with a space) can only be decoded, never found.
  const bool findable = append_from_byte_alphabet(token_, bytes);
  return check(result_.vocabulary.add(value, findable ? bytes : token_, findable), "model.vocab");
}

}  // namespace

Result<TokenizerJson> read_tokenizer_json(std::string_view text) {
  Reader reader;
  const bool parsed = json::sax_parse(text.begin(), text.end(), &reader);
  return std::move(reader).finish(parsed);
}

}  // namespace dunlin
