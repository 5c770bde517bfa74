// Pattern: a regular expression of a tokenizer.json, compiled by PCRE2, and the bounded search for its
// matches. Patterns come with a model and texts from anyone, so that both are untrusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tokenizer/splitters/splitter.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace dunlin {

// What one search may use. PCRE2 counts the steps and the memory of each match; the processor time bounds
// what it does not count, such as a run scanned again from every position.
inline constexpr size_t kMaxPatternBytes = size_t{1} << 16;
inline constexpr uint32_t kMaxMatchSteps = 10'000'000;
inline constexpr uint32_t kMaxMatchDepth = 1'000'000;
inline constexpr size_t kMaxMatchBytes = size_t{64} << 20;
// A text may take this long, and this much longer for each of its bytes: a usual pattern needs 0.02 to
// 0.1 microseconds a byte.
inline constexpr int64_t kMatchNanoseconds = 1'000'000'000;
inline constexpr int64_t kMatchNanosecondsPerByte = 1'000;

// Immutable; shared by threads.
class Pattern {
 public:
  // From the syntax of Oniguruma (splitters/pattern_syntax.h) or from that of PCRE2. Errors: a pattern
  // that is too long, wrong, or uses what is not supported. Code points that Unicode 15 and later added
  // are unassigned for PCRE2 10.42, whose tables are those of Unicode 14.
  static Result<Pattern> from_oniguruma(std::string_view pattern);
  static Result<Pattern> from_pcre2(const std::string& pattern);

 private:
  friend class PatternSearch;
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Pattern(pcre2_real_code_8* code) : code_(code) {}
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

// The memory and the time of searching one text, for one thread.
class PatternSearch {
 public:
  explicit PatternSearch(size_t text_bytes);

  // The leftmost match in `text` (valid UTF-8 below 4 GiB) at or behind the character that begins at
  // `from`; it may be empty. An error when the search breaks the bounds above.
  Result<std::optional<Piece>> find(const Pattern& pattern, std::string_view text, size_t from);

 private:
  struct Free {
    void operator()(pcre2_real_match_context_8* context) const;
    void operator()(pcre2_real_match_data_8* data) const;
    void operator()(pcre2_real_jit_stack_8* stack) const;
  };
  Result<void> check_time();

  std::unique_ptr<pcre2_real_jit_stack_8, Free> stack_;
  std::unique_ptr<pcre2_real_match_context_8, Free> context_;
  std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  int64_t deadline_;  // of the thread's processor time, in nanoseconds
  int finds_until_check_ = 0;
};

}  // namespace dunlin
