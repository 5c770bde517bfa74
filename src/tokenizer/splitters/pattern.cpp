#include "tokenizer/splitters/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <new>

#include "tokenizer/splitters/pattern_syntax.h"

namespace dunlin {
namespace {

// So many characters are tried as the start of a match between two looks at the clock, and so many
// matches lie between two. Reading the clock costs about as much as four matches.
constexpr size_t kStartsPerCheck = 4096;
constexpr int kFindsPerCheck = 256;

int64_t thread_nanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer = {};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

const PCRE2_UCHAR* units(std::string_view text) {
  return reinterpret_cast<const PCRE2_UCHAR*>(text.data());
}

}  // namespace

void Pattern::Free::operator()(pcre2_code* code) const {
  pcre2_code_free(code);
}
void PatternSearch::Free::operator()(pcre2_match_context* context) const {
  pcre2_match_context_free(context);
}
void PatternSearch::Free::operator()(pcre2_match_data* data) const {
  pcre2_match_data_free(data);
}
void PatternSearch::Free::operator()(pcre2_jit_stack* stack) const {
  pcre2_jit_stack_free(stack);
}

Result<Pattern> Pattern::from_oniguruma(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes)
    return model_error(fmt::format("a pattern of more than {} bytes", kMaxPatternBytes));
  DUNLIN_ASSIGN_OR_RETURN(const std::string translated, translate_pattern(pattern));
  return from_pcre2(translated);
}

Result<Pattern> Pattern::from_pcre2(const std::string& pattern) {
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE |
                                PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE offset = 0;
  Pattern compiled(
      pcre2_compile(units(pattern), pattern.size(), kOptions, &code, &offset, context.get()));
  if (code == PCRE2_ERROR_HEAP_FAILED) throw std::bad_alloc();
  if (!compiled.code_) return model_error(message_of(code));
  // Without just-in-time compilation (another processor, or no executable memory) the interpreter runs.
  pcre2_jit_compile(compiled.code_.get(), PCRE2_JIT_COMPLETE);
  return compiled;
}

PatternSearch::PatternSearch(size_t text_bytes)
    : stack_(pcre2_jit_stack_create(size_t{32} << 10, kMaxMatchBytes, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      data_(pcre2_match_data_create(1, nullptr)),
      deadline_(thread_nanoseconds() + kMatchNanoseconds +
                kMatchNanosecondsPerByte * static_cast<int64_t>(text_bytes)) {
  if (context_ == nullptr || data_ == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(context_.get(), kMaxMatchSteps);
  pcre2_set_depth_limit(context_.get(), kMaxMatchDepth);
  pcre2_set_heap_limit(context_.get(), kMaxMatchBytes >> 10);
  pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
}

Result<void> PatternSearch::check_time() {
  finds_until_check_ = kFindsPerCheck;
  if (thread_nanoseconds() <= deadline_) return {};
  return model_error("the pattern takes too long on this text");
}

Result<std::optional<Piece>> PatternSearch::find(const Pattern& pattern, std::string_view text,
                                                 size_t from) {
  if (finds_until_check_-- <= 0) DUNLIN_RETURN_IF_ERROR(check_time());
  while (true) {
    const size_t last_start = std::min(from + kStartsPerCheck, text.size());
    pcre2_set_offset_limit(context_.get(), last_start);
    const int code = pcre2_match(pattern.code_.get(), units(text), text.size(), from,
                                 PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
    if (code >= 0) {
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
      return std::optional(
          Piece{static_cast<uint32_t>(bounds[0]), static_cast<uint32_t>(bounds[1])});
    }
    // Without a stack of its own just-in-time code has the 32 KiB that PCRE2 lends it.
    const bool no_stack = code == PCRE2_ERROR_JIT_STACKLIMIT && stack_ == nullptr;
    if (code == PCRE2_ERROR_NOMEMORY || no_stack) throw std::bad_alloc();
    if (code != PCRE2_ERROR_NOMATCH)
      return model_error(fmt::format("the pattern cannot be matched: {}", message_of(code)));
    if (last_start == text.size()) return std::optional<Piece>();
    from = last_start + 1;
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
    DUNLIN_RETURN_IF_ERROR(check_time());
  }
}

}  // namespace dunlin
