// Filters on text.
#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/text_case.h"
#include "tokenizer/jinja/text_search.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

template <Text (*change)(const Text&)>
Value case_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("case conversion", arguments, {});
  return make_string(change(to_text(input, runtime.budget)), runtime.budget);
}

Value trim_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Text text = to_text(input, runtime.budget);
  return call_string_method(runtime, text, "strip", arguments);
}

Value replace_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("replace", arguments, {"old", "new", "count"}, 2);
  Arguments texts;
  texts.positional.push_back(make_string(to_text(bound.value(0), runtime.budget), runtime.budget));
  texts.positional.push_back(make_string(to_text(bound.value(1), runtime.budget), runtime.budget));
  if (bound.find(2) && !bound.find(2)->is_none()) texts.positional.push_back(bound.value(2));
  return call_string_method(runtime, to_text(input, runtime.budget), "replace", texts);
}

Value string_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("string", arguments, {});
  return make_string(to_text(input, runtime.budget), runtime.budget);
}

// HTML's five characters; unlike Jinja's Markup the result is an ordinary string.
Value escape_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("escape", arguments, {});
  const Text text = to_text(input, runtime.budget);
  static constexpr std::string_view kCharacters = "&<>'\"";
  static constexpr std::string_view kEscapes[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  TextBuilder builder;
  OriginCursor origin(text);
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t found = kCharacters.find(text.bytes()[i]);
    const std::string_view piece =
        found == kCharacters.npos ? std::string_view(text.bytes()).substr(i, 1) : kEscapes[found];
    builder.append(piece, origin.trusted(i));
  }
  return make_string(builder.take(), runtime.budget);
}

// Whether one more "\n" would begin a new, empty line.
bool ends_with_line_break(std::string_view text) {
  bool line_break = false;
  for (size_t position = 0; position < text.size();)
    line_break = is_line_break(next_code_point(text, position));
  return line_break && text.back() != '\r';
}

Text indentation(const BoundArguments& bound) {
  if (bound.find(0) && bound.find(0)->text()) return *bound.find(0)->text();
  const int64_t width = bound.integer_or(0, 4);
  if (width > static_cast<int64_t>(kMaxOutputBytes))
    throw TemplateError("indent: the width is too large");
  return Text(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '), true);
}

Value indent_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("indent", arguments, {"width", "first", "blank"});
  require_defined(input);
  if (!input.text()) throw TemplateError("indent needs a string");
  const Text& text = *input.text();
  const Text indent = indentation(bound);
  const bool indent_first = bound.boolean_or(1, false);
  const bool indent_blank = bound.boolean_or(2, false);
  runtime.budget.work(text.size());
  TextBuilder builder;
  std::vector<ByteRange> lines = line_ranges(text.bytes(), false);
  if (text.size() == 0 || ends_with_line_break(text.bytes()))
    lines.push_back({text.size(), text.size()});
  for (size_t i = 0; i < lines.size(); ++i) {
    runtime.budget.work(sizeof(ByteRange));
    if (i > 0) builder.append("\n", true);
    const bool blank = lines[i].begin == lines[i].end;
    if (i == 0 ? indent_first : indent_blank || !blank) builder.append(indent);
    builder.append(text, lines[i].begin, lines[i].end);
  }
  return make_string(builder.take(), runtime.budget);
}

Value wordcount_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("wordcount", arguments, {});
  const Text text = to_text(input, runtime.budget);
  int64_t count = 0;
  bool inside = false;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text.bytes(), position);
    const bool word = is_letter_or_digit(c) || c == U'_';
    count += word && !inside;
    inside = word;
  }
  return Value(count);
}

Value format_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Text text = to_text(input, runtime.budget);
  if (!arguments.keyword.empty())
    throw TemplateError("format: keyword arguments are not supported");
  const Value values = make_sequence(Sequence::Kind::tuple, arguments.positional, runtime.budget);
  return make_string(percent_format(text, values, runtime.budget), runtime.budget);
}

std::optional<std::string> json_indent(const BoundArguments& bound) {
  const Value* indent = bound.find(1);
  if (!indent || indent->is_none()) return std::nullopt;
  if (indent->text()) return indent->text()->bytes();
  const int64_t width = bound.integer_or(1, 0);
  if (width > 1000) throw TemplateError("tojson: the indent is larger than 1000");
  return std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
}

// The parameters that transformers gives the filter.
Value tojson_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("tojson", arguments,
                             {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ensure_ascii = bound.boolean_or(0, false);
  options.sort_keys = bound.boolean_or(3, false);
  options.indent = json_indent(bound);
  if (options.indent) options.item_separator = std::string(1, ',');
  if (const Value* separators = bound.find(2); separators && !separators->is_none()) {
    const Sequence* pair = separators->sequence();
    if (!pair || pair->items.size() != 2 || !pair->items[0].text() || !pair->items[1].text()) {
      throw TemplateError("tojson: separators must be two strings");
    }
    options.item_separator = pair->items[0].text()->bytes();
    options.key_separator = pair->items[1].text()->bytes();
  }
  return make_string(Text(to_json(input, options, runtime.budget), false), runtime.budget);
}

constexpr Filter kFilters[] = {
    {"upper", case_filter<to_upper>},
    {"lower", case_filter<to_lower>},
    {"capitalize", case_filter<to_capitalized>},
    {"title", case_filter<to_title_words>},
    {"trim", trim_filter},
    {"replace", replace_filter},
    {"string", string_filter},
    {"safe", string_filter},
    {"escape", escape_filter},
    {"e", escape_filter},
    {"indent", indent_filter},
    {"wordcount", wordcount_filter},
    {"format", format_filter},
    {"tojson", tojson_filter},
};

}  // namespace

std::span<const Filter> text_filters() {
  return kFilters;
}

}  // namespace dunlin::jinja
