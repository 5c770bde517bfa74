// Several downloads at a time, each thread with a connection of its own.
#pragma once

#include <functional>
#include <vector>

#include "hub/download.h"

namespace dunlin {

struct QueuedDownload {
  Download what = {};
  std::function<Error(const HttpResponse&)> refused = {};
};

// The first error stops the others. `progress` gets the bytes that have arrived so far, from the
// calling thread, ten times a second and at the end.
Result<void> download_all(const std::vector<QueuedDownload>& downloads, const HttpOptions& http,
                          const std::function<void(int64_t bytes)>& progress);

}  // namespace dunlin
