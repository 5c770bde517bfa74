// `dunlin bench sweep`: throughput of whole answers over the size of the batch, to where memory ends.
#pragma once

#include "cli/command.h"

namespace dunlin {

void add_bench_sweep(Command bench, int& exit_code);

}  // namespace dunlin
