// One writer for both forms, which differ in their strings and scalars: Python's repr(), and JSON as
// Python's json module writes it (json/encoder.py).
#include "tokenizer/jinja/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/runtime.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

// fmt prints the shortest digits that read back as the same double, with an exponent below 1e-4 and
// from 1e16 on, as Python does; but no fraction where it is zero.
std::string format_float(double value) {
  const std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string escape(char32_t c) {
  const auto code = static_cast<uint32_t>(c);
  return code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
}

class Writer {
 public:
  // `json` is nullptr for repr().
  Writer(const JsonOptions* json, Runtime& runtime) : json_(json), runtime_(runtime) {}

  void write(const Value& value) {
    runtime_.step();
    if (level_ > kMaxValueDepth)
      throw TemplateError("a printed value is nested deeper than 100 levels");
    if (const Text* text = value.text()) {
      put(json_ ? json_string(text->bytes()) : python_string(text->bytes()));
    } else if (const Sequence* s = value.sequence();
               s && (s->is_list_or_tuple() || (!json_ && !s->label.empty()))) {
      write_sequence(*s);
    } else if (const auto* object = value.object();
               !json_ && object && object->kind == Object::Kind::name_space) {
      put("<Namespace ");
      write_dict(static_cast<const NamespaceObject*>(object)->attributes);
      put(">");
    } else if (const Dict* dict = value.dict()) {
      write_dict(*dict);
    } else {
      put(scalar(value));
    }
  }
  std::string take() { return builder_.take().bytes(); }

 private:
  void put(std::string_view bytes) { builder_.append(bytes, false); }
  std::string scalar(const Value& value) const;
  std::string python_string(std::string_view text);
  std::string json_string(std::string_view text);
  void write_sequence(const Sequence& sequence);
  void write_dict(const Dict& dict);
  void write_key(const Value& key);
  template <typename Item>
  void write_items(std::string_view open, std::string_view close, size_t count, Item item);
  void new_line();

  const JsonOptions* json_;
  Runtime& runtime_;
  TextBuilder builder_;
  int level_ = 0;
};

std::string Writer::scalar(const Value& value) const {
  if (value.is_none()) return json_ ? "null" : "None";
  if (const bool* b = value.boolean())
    return json_ ? (*b ? "true" : "false") : (*b ? "True" : "False");
  if (const int64_t* i = value.integer()) return std::to_string(*i);
  if (const double* f = value.floating()) {
    if (std::isnan(*f)) return json_ ? "NaN" : "nan";
    if (std::isinf(*f)) return std::string(*f < 0 ? "-" : "") + (json_ ? "Infinity" : "inf");
    return format_float(*f);
  }
  if (json_) {
    throw TemplateError(
        fmt::format("Object of type {} is not JSON serializable", value.type_name()));
  }
  if (value.is_undefined()) return "Undefined";
  throw TemplateError(
      fmt::format("a {} cannot be printed; the list filter makes a list of what can "
                  "be iterated",
                  value.type_name()));
}

// Single quotes unless the text holds single and no double quotes.
std::string Writer::python_string(std::string_view text) {
  runtime_.work(text.size());
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    if (c == U'\n' || c == U'\r' || c == U'\t') {
      out += c == U'\n' ? "\\n" : c == U'\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      if (c == static_cast<char32_t>(quote) || c == U'\\') out.push_back('\\');
      append_utf8(c, out);
    } else {
      out += c < 0x100 ? fmt::format("\\x{:02x}", static_cast<uint32_t>(c)) : escape(c);
    }
  }
  out.push_back(quote);
  return out;
}

std::string Writer::json_string(std::string_view text) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  runtime_.work(text.size());
  std::string out = "\"";
  for (size_t position = 0; position < text.size() && out.size() <= kMaxOutputBytes;) {
    const char32_t c = next_code_point(text, position);
    const size_t known = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : kEscaped.npos;
    if (known != kEscaped.npos) {
      out.push_back('\\');
      out.push_back(kLetters[known]);
    } else if (c >= 0x20 && (c <= 0x7E || !json_->ensure_ascii)) {
      append_utf8(c, out);
    } else if (c < 0x10000) {
      out += escape(c);
    } else {  // a surrogate pair
      out += escape(0xD800 + ((c - 0x10000) >> 10)) + escape(0xDC00 + ((c - 0x10000) & 0x3FF));
    }
  }
  out.push_back('"');
  return out;
}

void Writer::new_line() {
  if (!json_ || !json_->indent) return;
  put("\n");
  for (int i = 0; i < level_; ++i) put(*json_->indent);
}

template <typename Item>
void Writer::write_items(std::string_view open, std::string_view close, size_t count, Item item) {
  put(open);
  ++level_;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) put(json_ ? std::string_view(json_->item_separator) : ", ");
    new_line();
    item(i);
  }
  --level_;
  if (count > 0) new_line();
  put(close);
}

void Writer::write_sequence(const Sequence& sequence) {
  put(sequence.label);
  if (sequence.kind == Sequence::Kind::range) return;
  if (sequence.kind == Sequence::Kind::view) put("(");
  const bool tuple = sequence.kind == Sequence::Kind::tuple && !json_;
  const std::string_view close = !tuple ? "]" : sequence.items.size() == 1 ? ",)" : ")";
  write_items(tuple ? "(" : "[", close, sequence.items.size(),
              [&](size_t i) { write(sequence.items[i]); });
  if (sequence.kind == Sequence::Kind::view) put(")");
}

void Writer::write_dict(const Dict& dict) {
  std::vector<const Dict::Entry*> entries;
  runtime_.work(dict.entries().size() * sizeof(void*));
  for (const auto& entry : dict.entries()) entries.push_back(&entry);
  if (json_ && json_->sort_keys) {
    std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
      const Text* left = a->key.text();
      const Text* right = b->key.text();
      if (!left || !right) throw TemplateError("tojson sorts only keys that are strings");
      return left->bytes() < right->bytes();
    });
  }
  write_items("{", "}", entries.size(), [&](size_t i) {
    write_key(entries[i]->key);
    put(json_ ? std::string_view(json_->key_separator) : ": ");
    write(entries[i]->value);
  });
}

void Writer::write_key(const Value& key) {
  if (!json_ || key.text()) return write(key);
  if (key.sequence()) throw TemplateError("keys must be str, int, float, bool or None, not tuple");
  put(fmt::format("\"{}\"", scalar(key)));
}

std::string print(const Value& value, const JsonOptions* json, Runtime& runtime) {
  Writer writer(json, runtime);
  writer.write(value);
  return writer.take();
}

}  // namespace

std::string to_json(const Value& value, const JsonOptions& options, Runtime& runtime) {
  return print(value, &options, runtime);
}

std::string to_repr(const Value& value, Runtime& runtime) {
  return print(value, nullptr, runtime);
}

Text to_text(const Value& value, Runtime& runtime) {
  if (const Text* text = value.text()) {
    runtime.work(text->size());
    return *text;
  }
  if (value.is_undefined()) return Text();
  return Text(to_repr(value, runtime), false);
}

}  // namespace dunlin::jinja
