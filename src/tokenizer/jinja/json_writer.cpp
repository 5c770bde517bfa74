// json.dumps() of values, as Python's json module writes them (json/encoder.py).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonOptions& options, Budget& budget) : options_(options), budget_(budget) {}

  void write(const Value& value) {
    budget_.step();
    if (const Text* t = value.text()) {
      write_string(t->bytes());
    } else if (const Sequence* s = value.sequence(); s && s->kind <= Sequence::Kind::tuple) {
      write_list(*s);
    } else if (const Dict* d = value.dict()) {
      write_dict(*d);
    } else {
      put(scalar(value));
    }
  }
  std::string take() { return builder_.take().bytes(); }

 private:
  void put(std::string_view bytes) { builder_.append(bytes, false); }
  std::string scalar(const Value& value) const;
  void write_string(std::string_view text);
  void write_list(const Sequence& list);
  void write_dict(const Dict& dict);
  void write_key(const Value& key);
  void new_line();

  const JsonOptions& options_;
  Budget& budget_;
  TextBuilder builder_;
  int level_ = 0;
};

std::string JsonWriter::scalar(const Value& value) const {
  if (value.is_none()) return "null";
  if (const bool* b = value.boolean()) return *b ? "true" : "false";
  if (const int64_t* i = value.integer()) return std::to_string(*i);
  if (const double* f = value.floating()) {
    if (std::isnan(*f)) return "NaN";
    if (std::isinf(*f)) return *f < 0 ? "-Infinity" : "Infinity";
    return format_float(*f);
  }
  throw TemplateError(fmt::format("Object of type {} is not JSON serializable", value.type_name()));
}

void append_json_escape(char32_t c, std::string& out) {
  const auto code = static_cast<uint32_t>(c);
  if (code < 0x10000) {
    out += fmt::format("\\u{:04x}", code);
  } else {
    const uint32_t offset = code - 0x10000;
    out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
  }
}

void JsonWriter::write_string(std::string_view text) {
  budget_.work(text.size());
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  std::string out = "\"";
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    const size_t escape = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : kEscaped.npos;
    if (escape != kEscaped.npos) {
      out.push_back('\\');
      out.push_back(kLetters[escape]);
    } else if (c < 0x20 || (options_.ensure_ascii && c > 0x7E)) {
      append_json_escape(c, out);
    } else {
      append_utf8(c, out);
    }
    if (out.size() > kMaxOutputBytes) break;  // put() refuses it
  }
  out.push_back('"');
  put(out);
}

void JsonWriter::new_line() {
  if (!options_.indent) return;
  put("\n");
  for (int i = 0; i < level_; ++i) put(*options_.indent);
}

void JsonWriter::write_list(const Sequence& list) {
  if (list.items.empty()) return put("[]");
  put("[");
  ++level_;
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) put(options_.item_separator);
    new_line();
    write(list.items[i]);
  }
  --level_;
  new_line();
  put("]");
}

void JsonWriter::write_dict(const Dict& dict) {
  if (dict.size() == 0) return put("{}");
  std::vector<const Dict::Entry*> entries;
  budget_.work(dict.size() * sizeof(void*));
  for (const auto& entry : dict.entries()) entries.push_back(&entry);
  if (options_.sort_keys) {
    std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
      const Text* left = a->key.text();
      const Text* right = b->key.text();
      if (!left || !right) throw TemplateError("tojson sorts only keys that are strings");
      return left->bytes() < right->bytes();
    });
  }
  put("{");
  ++level_;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) put(options_.item_separator);
    new_line();
    write_key(entries[i]->key);
    put(options_.key_separator);
    write(entries[i]->value);
  }
  --level_;
  new_line();
  put("}");
}

void JsonWriter::write_key(const Value& key) {
  if (const Text* t = key.text()) return write_string(t->bytes());
  if (key.sequence()) throw TemplateError("keys must be str, int, float, bool or None, not tuple");
  put(fmt::format("\"{}\"", scalar(key)));
}

}  // namespace

std::string to_json(const Value& value, const JsonOptions& options, Budget& budget) {
  JsonWriter writer(options, budget);
  writer.write(value);
  return writer.take();
}

}  // namespace dunlin::jinja
