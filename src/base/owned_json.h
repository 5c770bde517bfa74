// OwnedJson: a JSON value that needs no memory to go away. nlohmann's own destructor moves the children to a list on the
// heap, lest it recurse too deeply, and ends the process when there is no memory for that list. This one recurses:
// what reads JSON limits its depth to some 64 levels.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace dunlin {

// Leaves an empty container, or a scalar as it is.
template <typename Json>
void dismantle(Json& value) noexcept {
  if (auto* array = value.template get_ptr<typename Json::array_t*>()) {
    for (Json& element : *array) dismantle(element);
    array->clear();
  } else if (auto* object = value.template get_ptr<typename Json::object_t*>()) {
    for (auto& [key, member] : *object) dismantle(member);
    object->clear();
  }
}

template <typename Json>
struct OwnedJson {
  OwnedJson() = default;
  OwnedJson(Json json) noexcept : value(std::move(json)) {}  // NOLINT(google-explicit-constructor)
  OwnedJson(OwnedJson&& other) noexcept : value(std::move(other.value)) {}
  OwnedJson& operator=(OwnedJson&& other) noexcept {
    value.swap(other.value);
    return *this;
  }
  ~OwnedJson() { dismantle(value); }

  Json value = nullptr;
};

// Json::parse(text), whose partial result is dismantled too. Throws Json::exception.
template <typename Json>
OwnedJson<Json> parse_json(std::string_view text) {
  OwnedJson<Json> parsed;
  nlohmann::detail::json_sax_dom_parser<Json> builder(parsed.value);
  Json::sax_parse(text, &builder);
  return parsed;
}

// Json::parse(text, callback), likewise.
template <typename Json>
OwnedJson<Json> parse_json(std::string_view text,
                           const typename Json::parser_callback_t& callback) {
  OwnedJson<Json> parsed;
  nlohmann::detail::json_sax_dom_callback_parser<Json> builder(parsed.value, callback);
  Json::sax_parse(text, &builder);
  return parsed;
}

}  // namespace dunlin
