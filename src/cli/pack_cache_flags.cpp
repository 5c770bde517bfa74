#include "cli/pack_cache_flags.h"

#include <cstdlib>
#include <string>

#include "base/user_folders.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace dunlin {
namespace {

std::string pack_cache_folder() {
  if (const char* const folder = std::getenv("DUNLIN_PACK_CACHE")) return folder;
  const auto cache = cache_folder();
  return cache ? *cache + "/packed" : "";
}

constexpr int kAsksOfABlink = 15;  // at 20 ms each

// Of one model; asked by the thread that ends it.
class PackCacheWait {
 public:
  explicit PackCacheWait(bool quiet) : quiet_(quiet) {}

  bool operator()() {
    // Some commands have left Ctrl-C to the system until now.
    if (asked_++ == 0) catch_interrupts();
    if (pending_interrupt() != 0) return false;
    if (asked_ == kAsksOfABlink && !quiet_)
      note("cache    the packed weights are still written; Ctrl-C drops them\n");
    return true;
  }

 private:
  bool quiet_;
  int asked_ = 0;
};

}  // namespace

void wait_at_the_end(PackCacheSettings& settings, bool quiet, bool verbose) {
  settings.still_waits = PackCacheWait(quiet);
  if (verbose) settings.ended = [](const std::string& line) { note("cache    {}\n", line); };
}

void PackCacheFlags::add_to(Command command) {
  add_switch(command, "--no-pack-cache", off,
             "of cpu: neither keep packed weights of large models for later runs nor use those "
             "that were kept");
  add_flag(command, "--pack-cache-gb", gigabytes,
           "gigabytes of packed weights that are kept; what was not used for longest goes first")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--pack-cache-least-mb", least_megabytes,
           "megabytes of packed weights from which on they are kept")
      .check(in_range(0, 1 << 20));
}

PackCacheSettings PackCacheFlags::settings() const {
  PackCacheSettings settings;
  if (!off) settings.folder = pack_cache_folder();
  settings.most_bytes = static_cast<uint64_t>(gigabytes) * 1'000'000'000;
  settings.least_bytes = static_cast<uint64_t>(least_megabytes) * 1'000'000;
  settings.tuned_bytes = settings.least_bytes;
  return settings;
}

}  // namespace dunlin
