// The CPU plug-in that the tests run on.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin::pjrt {

// Whether the plug-in was fetched; tests that need it skip themselves without it.
bool has_plugin();
#define DUNLIN_NEEDS_PLUGIN()                                                    \
  if (!pjrt::has_plugin()) {                                                     \
    GTEST_SKIP() << "no CPU plug-in: scripts/fetch-pjrt cpu could not fetch it"; \
  }

// A client with so many virtual devices.
std::shared_ptr<const Client> cpu_client(int64_t devices = 1);
// One back end for the whole process.
Backend& cpu_backend();

}  // namespace dunlin::pjrt
