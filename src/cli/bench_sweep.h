// `dunlin bench sweep`: throughput of whole answers over the size of the batch, to where memory ends.
#pragma once

#include <CLI/CLI.hpp>

namespace dunlin {

void add_bench_sweep(CLI::App& bench, int& exit_code);

}  // namespace dunlin
