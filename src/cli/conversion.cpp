#include "cli/conversion.h"

#include <fmt/format.h>

#include "base/cpu_features.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "report/table.h"

namespace dunlin {

Result<int> run_conversion(int threads, bool quiet, const Conversion& work) {
  DUNLIN_ASSIGN_OR_RETURN(const auto pool,
                          ThreadPool::create(threads > 0 ? threads : cpu_features().cores));
  catch_interrupts();
  ProgressBar bar(!quiet);
  const auto done = work(*pool, [&bar](uint64_t bytes, uint64_t total) -> Result<void> {
    bar.update(static_cast<double>(bytes) / static_cast<double>(total),
               fmt::format("{} MB of {}", bytes / 1'000'000, total / 1'000'000));
    if (pending_interrupt() != 0) return runtime_error("interrupted");
    return {};
  });
  bar.clear();
  if (done.ok()) return 0;
  if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
  return done.error();
}

TensorSizes::TensorSizes(const std::vector<TensorPlan>& tensors) {
  for (const TensorPlan& tensor : tensors) {
    elements += tensor.elements();
    stored += tensor.stored_bytes();
    written += tensor.bytes();
  }
}

std::string sizes_table(const TensorSizes& sizes, const std::string& in, const std::string& out) {
  const auto row = [](const char* side, const std::string& path, uint64_t bytes, double bits) {
    return std::vector<std::string>{side, path,
                                    fmt::format("{:.1f}", static_cast<double>(bytes) / 1e6),
                                    fmt::format("{:.2f}", bits)};
  };
  const std::vector<TableColumn> columns = {
      {""}, {"file"}, {"MB", true}, {"bits per weight", true}};
  const std::vector<std::vector<std::string>> rows = {
      row("in", in, sizes.stored, sizes.stored_bits()),
      row("out", out, sizes.written, sizes.written_bits())};
  return aligned_table(columns, rows);
}

}  // namespace dunlin
