#include "tokenizer/harmony/schema_type.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <vector>

namespace dunlin::harmony {
namespace {

using Json = nlohmann::ordered_json;

const Json* member(const Json& schema, const char* key) {
  if (!schema.is_object()) return nullptr;
  const auto found = schema.find(key);
  return found == schema.end() ? nullptr : &*found;
}

const std::string* text_member(const Json& schema, const char* key) {
  const Json* const value = member(schema, key);
  return value == nullptr ? nullptr : value->get_ptr<const std::string*>();
}

const Json* list_member(const Json& schema, const char* key) {
  const Json* const value = member(schema, key);
  return value != nullptr && value->is_array() ? value : nullptr;
}

bool is_enum(const Json& schema) {
  const Json* const values = list_member(schema, "enum");
  return values != nullptr && !values->empty();
}

// The shortest digits that are the number, as Rust's serde_json places them: 1e20, 0.00001, 3.0.
std::string number_text(double number) {
  std::array<char, 40> buffer;
  const char* const begin = buffer.data();
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                                     std::fabs(number), std::chars_format::scientific);
  const std::string_view text(begin, static_cast<size_t>(written.ptr - begin));
  const size_t e = text.find('e');
  std::string digits(text.substr(0, e));
  std::erase(digits, '.');
  int exponent = 0;
  const size_t sign = text[e + 1] == '+' ? 1 : 0;
  std::from_chars(begin + e + 1 + sign, written.ptr, exponent);
  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;  // digits before the decimal point
  const std::string sign_text = std::signbit(number) ? "-" : "";
  const auto zeros = [](int wanted) { return std::string(static_cast<size_t>(wanted), '0'); };
  const auto split = [&digits](int at) {
    return fmt::format("{}.{}", digits.substr(0, static_cast<size_t>(at)),
                       digits.substr(static_cast<size_t>(at)));
  };
  if (point > 16 || point <= -5)
    return fmt::format("{}{}e{}", sign_text, count > 1 ? split(1) : digits, exponent);
  if (point <= 0) return fmt::format("{}0.{}{}", sign_text, zeros(-point), digits);
  if (count <= point) return fmt::format("{}{}{}.0", sign_text, digits, zeros(point - count));
  return sign_text + split(point);
}

class TypeWriter {
 public:
  std::string type(const Json& schema, const std::string& indent) {
    const Deeper deeper(*this);
    if (too_deep()) return {};
    if (const Json* const variants = list_member(schema, "oneOf")) return one_of(*variants, indent);
    if (const Json* const names = list_member(schema, "type")) return any_of_types(*names);
    const std::string* const name = text_member(schema, "type");
    if (name == nullptr) return "any";
    if (*name == "object") return object(schema, indent);
    if (*name == "string") return string(schema);
    if (*name == "integer" || *name == "number") return "number";
    if (*name == "boolean") return "boolean";
    if (*name != "array") return "any";
    const Json* const items = member(schema, "items");
    return items == nullptr ? "Array<any>" : type(*items, indent) + "[]";
  }

  bool failed() const { return failed_; }

 private:
  struct Deeper {
    explicit Deeper(TypeWriter& each) : writer(each) { ++writer.levels_; }
    ~Deeper() { --writer.levels_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    TypeWriter& writer;
  };

  bool too_deep() {
    failed_ = failed_ || levels_ > kMostSchemaLevels;
    return failed_;
  }

  static std::string any_of_types(const Json& names) {
    std::vector<std::string> types;
    for (const Json& each : names) {
      if (const auto* const name = each.get_ptr<const std::string*>())
        types.push_back(*name == "integer" ? "number" : *name);
    }
    return types.empty() ? "any" : fmt::format("{}", fmt::join(types, " | "));
  }

  static std::string string(const Json& schema) {
    std::vector<std::string> values;
    if (const Json* const list = list_member(schema, "enum")) {
      for (const Json& each : *list) {
        if (const auto* const value = each.get_ptr<const std::string*>())
          values.push_back('"' + *value + '"');
      }
    }
    return values.empty() ? "string" : fmt::format("{}", fmt::join(values, " | "));
  }

  std::string nullable_type(const Json& schema, const std::string& indent) {
    std::string text = type(schema, indent);
    const Json* const nullable = member(schema, "nullable");
    const bool may_be_null = nullable != nullptr && nullable->is_boolean() && nullable->get<bool>();
    if (may_be_null && text.find("null") == std::string::npos) text += " | null";
    return text;
  }

  // A value as compact JSON.
  std::string json(const Json& value) {
    const Deeper deeper(*this);
    if (too_deep()) return {};
    std::vector<std::string> parts;
    if (value.is_number_float()) return number_text(value.get<double>());
    if (value.is_array()) {
      for (const Json& each : value) parts.push_back(json(each));
      return fmt::format("[{}]", fmt::join(parts, ","));
    }
    if (value.is_object()) {
      for (const auto& [key, each] : value.items()) parts.push_back(quoted(key) + ':' + json(each));
      return fmt::format("{{{}}}", fmt::join(parts, ","));
    }
    return value.is_string() ? quoted(value.get_ref<const std::string&>()) : value.dump();
  }
  static std::string quoted(const std::string& text) {
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  // "default: 3", or nothing. A word of an enum stands without quotes beside a property.
  std::string default_text(const Json& schema, bool of_property) {
    const Json* const value = member(schema, "default");
    if (value == nullptr) return {};
    const auto* const text = value->get_ptr<const std::string*>();
    if (text != nullptr && !is_enum(schema)) return fmt::format("default: \"{}\"", *text);
    if (text != nullptr && of_property) return "default: " + *text;
    return "default: " + json(*value);
  }

  // Null and an empty default are not there; a description may be an empty text.
  static std::string behind(const std::string* description, const std::string& value) {
    std::vector<std::string_view> comments;
    if (description != nullptr) comments.push_back(*description);
    if (!value.empty()) comments.push_back(value);
    return comments.empty() ? std::string() : fmt::format(" // {}", fmt::join(comments, " "));
  }

  // Variants that are no property's, one a line.
  std::string one_of(const Json& variants, const std::string& indent) {
    std::string text;
    for (const Json& each : variants) {
      text += fmt::format("\n{} | {}", indent, nullable_type(each, indent + "   "));
      text += behind(text_member(each, "description"), default_text(each, /*of_property=*/false));
    }
    return text;
  }

  std::string object(const Json& schema, const std::string& indent) {
    std::string text;
    if (const auto* const description = text_member(schema, "description"))
      text += fmt::format("{}// {}\n", indent, *description);
    text += "{\n";
    const Json* const properties = member(schema, "properties");
    if (properties != nullptr && properties->is_object()) {
      const auto required = required_names(schema);
      for (const auto& [key, each] : properties->items()) {
        const std::string name = key + (required.contains(key) ? "" : "?");
        text += comments_before(each, indent) + property(name, each, indent);
      }
    }
    return text + indent + '}';
  }

  static std::set<std::string_view> required_names(const Json& schema) {
    std::set<std::string_view> names;
    if (const Json* const list = list_member(schema, "required")) {
      for (const Json& each : *list) {
        if (const auto* const name = each.get_ptr<const std::string*>()) names.insert(*name);
      }
    }
    return names;
  }

  static std::string comments_before(const Json& schema, const std::string& indent) {
    std::string text;
    if (const auto* const title = text_member(schema, "title"))
      text += fmt::format("{0}// {1}\n{0}//\n", indent, *title);
    const auto* const description = text_member(schema, "description");
    if (description != nullptr && member(schema, "oneOf") == nullptr)
      text += fmt::format("{}// {}\n", indent, *description);
    const Json* const examples = list_member(schema, "examples");
    if (examples == nullptr || examples->empty()) return text;
    text += indent + "// Examples:\n";
    for (const Json& each : *examples) {
      if (const auto* const example = each.get_ptr<const std::string*>())
        text += fmt::format("{}// - \"{}\"\n", indent, *example);
    }
    return text;
  }

  std::string property(const std::string& name, const Json& schema, const std::string& indent) {
    if (const Json* const variants = list_member(schema, "oneOf"))
      return property_of_variants(name, schema, *variants, indent);
    std::string text =
        fmt::format("{}{}: {},", indent, name, nullable_type(schema, indent + "    "));
    if (member(schema, "oneOf") == nullptr) text += behind(nullptr, default_text(schema, true));
    return text + '\n';
  }

  // The property's description stands above it, and is not repeated beside its first variant.
  std::string property_of_variants(const std::string& name, const Json& schema,
                                   const Json& variants, const std::string& indent) {
    const std::string* const description = text_member(schema, "description");
    const auto is_described_alike = [description](const Json& variant) {
      const std::string* const own = text_member(variant, "description");
      return description != nullptr && own != nullptr && *own == *description;
    };
    const bool above =
        description != nullptr && (variants.empty() || !is_described_alike(variants[0]));
    std::string text;
    if (above) text += fmt::format("{}// {}\n", indent, *description);
    const std::string value = default_text(schema, true);
    if (!value.empty()) text += fmt::format("{}// {}\n", indent, value);
    text += fmt::format("{}{}:\n", indent, name);
    for (size_t i = 0; i < variants.size(); ++i) {
      const Json& each = variants[i];
      const std::string* const own = text_member(each, "description");
      const bool silent = own == nullptr || is_described_alike(each) || (i == 0 && above);
      text += fmt::format("{} | {}", indent, nullable_type(each, indent + "   "));
      text += behind(silent ? nullptr : own, default_text(each, true)) + '\n';
    }
    return text + indent + ",\n";
  }

  int levels_ = 0;
  bool failed_ = false;
};

}  // namespace

Result<std::string> schema_type(const Json& schema) {
  TypeWriter writer;
  std::string text = writer.type(schema, "");
  if (writer.failed())
    return usage_error(fmt::format("the schema has more than {} levels", kMostSchemaLevels));
  return text;
}

}  // namespace dunlin::harmony
