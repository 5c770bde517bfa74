// One file from the hub to its place: begun where an earlier download stopped, compared with its
// checksum, and only then renamed. Whoever is killed leaves what it has for the next one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "hub/http.h"
#include "hub/hub_api.h"

namespace dunlin {

struct Download {
  HubFile file = {};  // with size and checksum
  std::string url = {};
  std::string token = {};
  std::string incomplete =
      {};  // where the bytes go until all are there; in the file system of `target`
  std::string target = {};
  std::string lock = {};  // locked meanwhile
  std::function<bool()> present =
      {};  // whether `target` is this file: another process may be faster
};

// Bytes that are here, since the last call; negative when some were useless.
using BytesArrived = std::function<void(int64_t bytes)>;

// `refused` makes the error of a response that
// gives no file. Errors: of the network; of the disk, which keep what was downloaded; a checksum
// that differs (kind network), which names both and keeps nothing.
Result<void> download(HttpClient& client, const Download& what,
                      const std::function<Error(const HttpResponse&)>& refused,
                      const std::function<bool()>& cancelled, const BytesArrived& arrived);

}  // namespace dunlin
