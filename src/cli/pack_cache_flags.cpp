#include "cli/pack_cache_flags.h"

#include <cstdlib>
#include <string>

#include "base/user_folders.h"
#include "cli/flags.h"

namespace dunlin {
namespace {

std::string pack_cache_folder() {
  if (const char* const folder = std::getenv("DUNLIN_PACK_CACHE")) return folder;
  const auto cache = cache_folder();
  return cache ? *cache + "/packed" : "";
}

}  // namespace

void PackCacheFlags::add_to(Command command) {
  add_switch(command, "--no-pack-cache", off,
             "of cpu: neither keep packed weights of large models for later runs nor use those "
             "that were kept");
  add_flag(command, "--pack-cache-gb", gigabytes,
           "gigabytes of packed weights that are kept; what was not used for longest goes first")
      .check(in_range(1, 1 << 20));
}

PackCacheSettings PackCacheFlags::settings() const {
  PackCacheSettings settings;
  if (!off) settings.folder = pack_cache_folder();
  settings.most_bytes = static_cast<uint64_t>(gigabytes) * 1'000'000'000;
  return settings;
}

}  // namespace dunlin
