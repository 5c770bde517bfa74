// str() and repr() of values, as Python 3 prints them.
#include "tokenizer/jinja/format.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

class ReprWriter {
 public:
  explicit ReprWriter(Budget& budget) : budget_(budget) {}

  void write(const Value& value) {
    budget_.step();
    if (depth_ > kMaxValueDepth)
      throw TemplateError("a printed value is nested deeper than 100 levels");
    ++depth_;
    if (const Text* t = value.text()) {
      write_string(t->bytes());
    } else if (const Sequence* s = value.sequence()) {
      write_sequence(*s);
    } else if (const Dict* d = value.dict()) {
      write_dict(*d);
    } else {
      write_scalar(value);
    }
    --depth_;
  }
  std::string take() { return builder_.take().bytes(); }

 private:
  void put(std::string_view bytes) { builder_.append(bytes, false); }
  void write_scalar(const Value& value);
  void write_string(std::string_view text);
  void write_escaped(char32_t c, std::string& out) const;
  void write_sequence(const Sequence& sequence);
  void write_dict(const Dict& dict);
  void write_object(const Object& object);

  Budget& budget_;
  TextBuilder builder_;
  int depth_ = 0;
};

void ReprWriter::write_scalar(const Value& value) {
  if (value.is_none()) return put("None");
  if (value.is_undefined()) return put("Undefined");
  if (const bool* b = value.boolean()) return put(*b ? "True" : "False");
  if (const int64_t* i = value.integer()) return put(std::to_string(*i));
  if (const double* f = value.floating()) return put(format_float(*f));
  if (value.object()) return write_object(*value.object());
  throw TemplateError(fmt::format("a {} cannot be printed", value.type_name()));
}

// Single quotes unless the text holds single and no double quotes.
void ReprWriter::write_string(std::string_view text) {
  budget_.work(text.size());
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    if (c == static_cast<char32_t>(quote) || c == U'\\') out.push_back('\\');
    write_escaped(c, out);
  }
  out.push_back(quote);
  put(out);
}

void ReprWriter::write_escaped(char32_t c, std::string& out) const {
  if (c == U'\n') {
    out += "\\n";
  } else if (c == U'\r') {
    out += "\\r";
  } else if (c == U'\t') {
    out += "\\t";
  } else if (is_printable(c)) {
    append_utf8(c, out);
  } else {
    const auto code = static_cast<uint32_t>(c);
    out += code < 0x100     ? fmt::format("\\x{:02x}", code)
           : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                            : fmt::format("\\U{:08x}", code);
  }
}

void ReprWriter::write_sequence(const Sequence& sequence) {
  using Kind = Sequence::Kind;
  if (sequence.kind == Kind::iterator)
    throw TemplateError("a generator cannot be printed; use the list filter");
  if (sequence.kind == Kind::range) return put(sequence.label);
  const bool tuple = sequence.kind == Kind::tuple;
  if (sequence.kind == Kind::view) put(sequence.label + "(");
  put(tuple ? "(" : "[");
  for (size_t i = 0; i < sequence.items.size(); ++i) {
    if (i > 0) put(", ");
    write(sequence.items[i]);
  }
  if (tuple && sequence.items.size() == 1) put(",");
  put(tuple ? ")" : "]");
  if (sequence.kind == Kind::view) put(")");
}

void ReprWriter::write_dict(const Dict& dict) {
  put("{");
  bool first = true;
  for (const auto& entry : dict.entries()) {
    if (!first) put(", ");
    first = false;
    write(entry.key);
    put(": ");
    write(entry.value);
  }
  put("}");
}

void ReprWriter::write_object(const Object& object) {
  if (object.kind != Object::Kind::name_space)
    throw TemplateError("a function or loop cannot be printed");
  put("<Namespace {");
  bool first = true;
  for (const auto& [name, value] : static_cast<const NamespaceObject&>(object).attributes) {
    if (!first) put(", ");
    first = false;
    write_string(name);
    put(": ");
    write(value);
  }
  put("}>");
}

}  // namespace

// Shortest digits that read back as the same double; an exponent below 1e-4 and from 1e16 on
// (Python, float_repr_style).
std::string format_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[32];
  const auto written =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(written.ptr - buffer));
  const size_t e = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(e + 1)));
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02d}", text.substr(0, e), exponent < 0 ? '-' : '+',
                       std::abs(exponent));
  }
  char digits[32];
  const auto end =
      std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::fixed).ptr;
  std::string fixed(digits, end);
  if (fixed.find('.') == fixed.npos) fixed += ".0";
  return fixed;
}

std::string to_repr(const Value& value, Budget& budget) {
  ReprWriter writer(budget);
  writer.write(value);
  return writer.take();
}

Text to_text(const Value& value, Budget& budget) {
  if (const Text* t = value.text()) {
    budget.work(t->size());
    return *t;
  }
  if (value.is_undefined()) return Text();
  return Text(to_repr(value, budget), false);
}

}  // namespace dunlin::jinja
