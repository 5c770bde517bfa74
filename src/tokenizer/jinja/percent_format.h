// The % operator of strings (Python, "printf-style String Formatting").
#pragma once

#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

// format % values, where a tuple gives one value per conversion: %s %r %d %i %x %f %% with flags,
// width and precision; without mapping keys and *. Throws TemplateError as Python raises, and for a
// width or precision beyond 10000.
Text percent_format(const Text& format, const Value& values, Runtime& runtime);

}  // namespace dunlin::jinja
