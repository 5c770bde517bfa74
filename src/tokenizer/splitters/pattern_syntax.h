// The regular expressions of tokenizer.json are written for Oniguruma (K. Kosako, doc/RE of version
// 6.9), which the `tokenizers` package uses. PCRE2 reads most of them alike and some differently; this
// is the translation.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin {

// A PCRE2 pattern (UTF, UCP, multi-line, \n as the line end) with the meaning that `pattern` (valid
// UTF-8) has for Oniguruma: nested and intersected classes, \s as White_Space, \w as Oniguruma's own
// set, \p{Han} as a script without its extensions, {n,m}+ as a repetition of a repetition. Syntax whose
// meaning differs and that is not translated (back references, POSIX brackets, named groups, flags other
// than i, \h, \R, ...) is an error, never read as something else. What is wrong in both is left for
// PCRE2 to report.
Result<std::string> translate_pattern(std::string_view pattern);

// A PCRE2 pattern that matches exactly `text`.
std::string quote_pattern(std::string_view text);

}  // namespace dunlin
