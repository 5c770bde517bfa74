#include "cli/conversion.h"

#include <fmt/format.h>

#include <chrono>

#include "base/cpu_features.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "report/table.h"

namespace dunlin {

Result<ConversionResult> run_conversion(int threads, bool quiet, const Conversion& work) {
  const auto start = std::chrono::steady_clock::now();
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
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  if (done.ok()) return ConversionResult{.left_over_tensors = *done, .seconds = time.count()};
  if (pending_interrupt() == 0) return done.error();
  note("{}\n", done.error().message);
  return ConversionResult{.exit_code = exit_code_of_signal(pending_interrupt())};
}

std::string tensors_line(size_t tensors, const ConversionResult& result) {
  const std::string earlier = result.left_over_tensors == 0
                                  ? ""
                                  : fmt::format("; {} of them were there from a run that was ended",
                                                result.left_over_tensors);
  return fmt::format("{} tensors in {:.1f} s{}", tensors, result.seconds, earlier);
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
