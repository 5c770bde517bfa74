#include "cli/disk_bandwidth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "artifact/cache_folder.h"
#include "backend/cpu/pager.h"
#include "base/atomic_file.h"
#include "base/disk_space.h"
#include "base/file_descriptor.h"
#include "base/mapped_file.h"

namespace dunlin {
namespace {

constexpr size_t kWrittenAtATime = 4 << 20;

// Numbers that no file system makes smaller (Marsaglia 2003, "Xorshift RNGs").
void fill_with_noise(std::span<std::byte> bytes, uint64_t& state) {
  for (size_t i = 0; i + sizeof state <= bytes.size(); i += sizeof state) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(bytes.data() + i, &state, sizeof state);
  }
}

Result<void> write_noise(AtomicFile& file, uint64_t bytes) {
  std::vector<std::byte> piece(kWrittenAtATime);
  uint64_t state = 88172645463325252u;
  for (uint64_t at = 0; at < bytes; at += piece.size()) {
    fill_with_noise(piece, state);
    const uint64_t count = std::min<uint64_t>(piece.size(), bytes - at);
    DUNLIN_RETURN_IF_ERROR(file.write(std::span(piece).first(count)));
  }
  return file.synchronise();
}

// Advice, which a file system in memory does not follow. The pages must be clean and mapped by nobody.
void forget(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() >= 0) (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
}

// The share of the mapping's pages that are in memory; all of them where the system does not say.
double share_in_memory(std::span<const std::byte> mapped) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((mapped.size() + page - 1) / page);
  if (::mincore(const_cast<std::byte*>(mapped.data()), mapped.size(), pages.data()) != 0) return 1;
  const auto there =
      std::ranges::count_if(pages, [](unsigned char each) { return (each & 1) != 0; });
  return static_cast<double>(there) / static_cast<double>(pages.size());
}

// Seconds of one pass over the file.
Result<double> read_once(const std::string& folder, const std::string& path) {
  constexpr double kFew = 0.05;  // of the pages; a system may read one or two ahead at the opening
  using Clock = std::chrono::steady_clock;
  forget(path);
  DUNLIN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  if (share_in_memory(file.bytes()) > kFew) {
    return runtime_error(
        fmt::format("{}: its files stay in memory, which says nothing of a disk", folder));
  }
  const cpu::MemoryRange all{file.bytes().data(), static_cast<int64_t>(file.bytes().size())};
  const auto pager = cpu::make_system_pager();
  const auto start = Clock::now();
  pager->read_ahead(all);
  (void)pager->hold(all);  // waits for all pages, whether it may lock them or not
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  pager->release(all);
  return seconds;
}

}  // namespace

Result<double> measure_disk_gb_s(const std::string& folder, uint64_t bytes, double seconds) {
  // What a process that was killed leaves goes with what is left of packed weights.
  const CacheFolder place(folder, ".packed");
  DUNLIN_RETURN_IF_ERROR(place.create());
  const std::string path = place.entry("speed-of-the-disk");
  DUNLIN_RETURN_IF_ERROR(check_disk_space(path, folder, 4 * bytes));
  // Never committed, so that it goes with this object.
  DUNLIN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  DUNLIN_RETURN_IF_ERROR(write_noise(file, bytes));
  double best = 0;
  for (double spent = 0; best == 0 || spent < seconds;) {
    DUNLIN_ASSIGN_OR_RETURN(const double took, read_once(folder, file.temporary()));
    spent += took;
    best = std::max(best, static_cast<double>(bytes) * 1e-9 / std::max(took, 1e-9));
  }
  return best;
}

}  // namespace dunlin
