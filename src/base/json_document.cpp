// Builds a tree from the parser's events. nlohmann's own tree builder with a callback looks through
// all siblings at the end of every object, which is quadratic, and keeps the last of two equal keys.
#include "base/json_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/owned_json.h"
#include "base/text_checks.h"

namespace dunlin {
namespace {

// "line 3, column 7" of the byte before `position`, which is where the parser stopped.
std::string place_of(std::string_view text, size_t position) {
  const std::string_view before = text.substr(0, position == 0 ? 0 : position - 1);
  const size_t feed = before.rfind('\n');
  const size_t column = feed == std::string_view::npos ? before.size() : before.size() - feed - 1;
  return fmt::format("line {}, column {}", 1 + std::ranges::count(before, '\n'), column + 1);
}

template <typename Json>
class TreeBuilder final : public nlohmann::json_sax<Json> {
 public:
  using Base = nlohmann::json_sax<Json>;

  explicit TreeBuilder(std::string_view text) : text_(text) {}

  OwnedJson<Json> root = {};
  std::string problem = {};  // why parsing stopped

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(typename Base::number_integer_t value) override { return add(value); }
  bool number_unsigned(typename Base::number_unsigned_t value) override { return add(value); }
  bool number_float(typename Base::number_float_t value, const std::string&) override {
    return add(value);
  }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(typename Base::binary_t&) override { return stop("binary data"); }

  bool start_object(size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    constexpr bool kOrdered = std::is_same_v<Json, nlohmann::ordered_json>;
    if (kOrdered && open_.back()->size() == kMostOrderedKeys)
      return stop(fmt::format("an object with more than {} keys", kMostOrderedKeys));
    const auto [place, fresh] = open_.back()->emplace(name, nullptr);
    if (!fresh) return stop(fmt::format("the key {} occurs twice", quoted_text(name)));
    member_ = &*place;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return stop("not valid JSON at " + place_of(text_, position));
  }

 private:
  bool stop(std::string why) {
    problem = std::move(why);
    return false;
  }

  // Where the next value belongs: the root, the member whose key came last, or the end of a list.
  Json* place() {
    if (open_.empty()) return &root.value;
    if (open_.back()->is_object()) return member_;
    open_.back()->push_back(nullptr);
    return &open_.back()->back();
  }

  template <typename T>
  bool add(T&& value) {
    if (++values_ > kMostJsonValues)
      return stop(fmt::format("more than {} values", kMostJsonValues));
    *place() = Json(std::forward<T>(value));
    return true;
  }

  bool open(Json container) {
    if (open_.size() == kMostJsonDepth)
      return stop(fmt::format("nested deeper than {} levels", kMostJsonDepth));
    if (++values_ > kMostJsonValues)
      return stop(fmt::format("more than {} values", kMostJsonValues));
    Json* const target = place();
    *target = std::move(container);
    open_.push_back(target);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  std::vector<Json*> open_ = {};  // containers from the root; none moves while it is open
  Json* member_ = nullptr;
  size_t values_ = 0;
};

enum class Wanted { value, object };

template <typename Json>
Result<Json> parse(const std::string& text, const std::string& origin, Wanted wanted) {
  TreeBuilder<Json> builder(text);
  if (!Json::sax_parse(text, &builder))
    return model_error(fmt::format("{}: {}", origin, builder.problem));
  if (wanted == Wanted::object && !builder.root.value.is_object())
    return model_error(fmt::format("{}: not a JSON object", origin));
  return std::move(builder.root.value);
}

}  // namespace

Result<nlohmann::json> parse_json_object(const std::string& text, const std::string& origin) {
  return parse<nlohmann::json>(text, origin, Wanted::object);
}

Result<nlohmann::json> parse_json_value(const std::string& text, const std::string& origin) {
  return parse<nlohmann::json>(text, origin, Wanted::value);
}

Result<nlohmann::ordered_json> parse_ordered_json_object(const std::string& text,
                                                         const std::string& origin) {
  return parse<nlohmann::ordered_json>(text, origin, Wanted::object);
}

}  // namespace dunlin
