#include "tokenizer/tokenizer_json_pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/json_fields.h"
#include "tokenizer/splitters/pattern_syntax.h"

namespace dunlin {
namespace {

using nlohmann::json;

// One step as the file has it.
struct Step {
  enum class Kind { pattern, byte_level, byte_level_gpt2 };
  Kind kind = Kind::pattern;
  std::string pattern;  // in Oniguruma's syntax; with `quoted`, the text itself
  bool quoted = false;
  MatchBehavior behavior = MatchBehavior::isolated;
  bool invert = false;
  bool adds_prefix_space = false;  // of byte_level
};

constexpr const char* kNumbers = R"(\p{N})";
// char::is_ascii_punctuation or a category of punctuation (`tokenizers`, pre_tokenizers/punctuation.rs).
constexpr const char* kPunctuation = R"([!-\/:-@\[-`{-~\p{P}])";

Result<MatchBehavior> read_behavior(const json& step, const char* fallback) {
  constexpr std::pair<std::string_view, MatchBehavior> kBehaviors[] = {
      {"Isolated", MatchBehavior::isolated},
      {"Removed", MatchBehavior::removed},
      {"MergedWithPrevious", MatchBehavior::merged_with_previous},
      {"MergedWithNext", MatchBehavior::merged_with_next},
      {"Contiguous", MatchBehavior::contiguous}};
  const bool named = member(step, "behavior") != nullptr;
  const std::string name = named ? text_member(step, "behavior") : std::string(fallback);
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) return behavior;
  }
  return model_error(fmt::format("the behavior {:?} is not supported", name));
}

Result<Step> read_split(const json& value) {
  Step step;
  const json* pattern = member(value, "pattern");
  const bool quoted = pattern != nullptr && member(*pattern, "String") != nullptr;
  const json* text = pattern == nullptr ? nullptr : member(*pattern, quoted ? "String" : "Regex");
  if (text == nullptr || !text->is_string())
    return model_error("the pattern is neither a Regex nor a String");
  step.pattern = text->get<std::string>();
  step.quoted = quoted;
  DUNLIN_ASSIGN_OR_RETURN(step.behavior, read_behavior(value, ""));
  DUNLIN_ASSIGN_OR_RETURN(step.invert, boolean_or(value, "invert", false));
  return step;
}

Result<Step> read_byte_level(const json& value) {
  Step step;
  // Defaults of `tokenizers`; files older than use_regex use it.
  DUNLIN_ASSIGN_OR_RETURN(step.adds_prefix_space, boolean_or(value, "add_prefix_space", true));
  DUNLIN_ASSIGN_OR_RETURN(const bool gpt2, boolean_or(value, "use_regex", true));
  step.kind = gpt2 ? Step::Kind::byte_level_gpt2 : Step::Kind::byte_level;
  return step;
}

Result<Step> read_step(const json& value) {
  const std::string type = text_member(value, "type");
  if (type == "Split") return read_split(value);
  if (type == "ByteLevel") return read_byte_level(value);
  Step step;
  if (type == "Digits") {
    DUNLIN_ASSIGN_OR_RETURN(const bool single, boolean_or(value, "individual_digits", false));
    step.pattern = kNumbers;
    step.behavior = single ? MatchBehavior::isolated : MatchBehavior::contiguous;
    return step;
  }
  if (type == "Punctuation") {
    step.pattern = kPunctuation;
    DUNLIN_ASSIGN_OR_RETURN(step.behavior, read_behavior(value, "Isolated"));
    return step;
  }
  return model_error(
      fmt::format("{} is not supported; what is: Split, Digits, Punctuation, ByteLevel",
                  type.empty() ? "a step without a type" : type));
}

// Whether the step makes a piece of every match of `pattern`. Where the pattern covers any text, keeping
// the matches alone is the same as isolating them.
bool isolates(const Step& step, std::string_view pattern, bool covers_any_text) {
  if (step.kind != Step::Kind::pattern || step.quoted || step.pattern != pattern) return false;
  if (step.invert) return covers_any_text && step.behavior == MatchBehavior::removed;
  return step.behavior == MatchBehavior::isolated;
}

// The family whose pre-tokenizer these steps are, or nullptr.
const Splitter* find_family(const std::vector<Step>& steps) {
  for (const Splitter* family :
       {&kLlama3Splitter, &kQwen2Splitter, &kO200kSplitter, &kGpt2Splitter, &kSmolLm2Splitter}) {
    const bool numbers = family->isolates_numbers;
    const std::string_view pattern = numbers ? kNumbers : family->pattern;
    const auto last = family->then_gpt2 ? Step::Kind::byte_level_gpt2 : Step::Kind::byte_level;
    if (steps.back().kind != last || steps.size() != (pattern.empty() ? 1 : 2)) continue;
    if (pattern.empty() || isolates(steps[0], pattern, !numbers)) return family;
  }
  return nullptr;
}

Result<PatternStep> compile(const Step& step) {
  PatternStep compiled;
  auto pattern = step.quoted ? Pattern::from_pcre2(quote_pattern(step.pattern))
                             : Pattern::from_oniguruma(step.pattern);
  if (!pattern.ok()) {
    constexpr size_t kExcerpt = 200;
    return pattern.error().with_context(
        fmt::format("the pattern {:?}", step.pattern.substr(0, kExcerpt)));
  }
  compiled.pattern = std::move(pattern).value();
  compiled.behavior = step.behavior;
  compiled.invert = step.invert;
  return compiled;
}

Result<PatternSplitter> compile(const std::vector<Step>& steps) {
  std::vector<PatternStep> compiled;
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::pattern) {
      DUNLIN_ASSIGN_OR_RETURN(PatternStep pattern, compile(step));
      compiled.push_back(std::move(pattern));
      continue;
    }
    if (step.kind == Step::Kind::byte_level_gpt2)
      compiled.push_back({PatternStep::Kind::gpt2, {}, {}, false});
    if (&step != &steps.back())
      compiled.push_back({PatternStep::Kind::byte_alphabet, {}, {}, false});
  }
  return PatternSplitter(std::move(compiled));
}

// Exactly one ByteLevel makes bytes of the text; the space it may add before every piece is supported
// where there is only one piece yet.
Result<void> check_byte_level(const std::vector<Step>& steps) {
  size_t count = 0;
  for (const Step& step : steps) {
    count += step.kind != Step::Kind::pattern;
    if (step.adds_prefix_space && &step != steps.data())
      return model_error("add_prefix_space behind another step is not supported");
  }
  if (count != 1) return model_error(fmt::format("{} ByteLevel steps instead of 1", count));
  return {};
}

Result<void> read_steps(const json* value, TokenizerParts& parts) {
  std::vector<Step> steps;
  for (const json* element : sequence(value, "pretokenizers")) {
    DUNLIN_ASSIGN_OR_RETURN(Step step, read_step(*element));
    steps.push_back(std::move(step));
  }
  DUNLIN_RETURN_IF_ERROR(check_byte_level(steps));
  parts.adds_prefix_space = steps[0].adds_prefix_space;
  parts.splitter = find_family(steps);
  if (parts.splitter != nullptr) return {};
  DUNLIN_ASSIGN_OR_RETURN(PatternSplitter splitter, compile(steps));
  parts.pattern_splitter = std::make_shared<const PatternSplitter>(std::move(splitter));
  return {};
}

}  // namespace

Result<void> read_pre_tokenizer(const json& document, TokenizerParts& parts) {
  const auto read = read_steps(member(document, "pre_tokenizer"), parts);
  if (!read.ok()) return read.error().with_context("pre_tokenizer");
  return {};
}

}  // namespace dunlin
