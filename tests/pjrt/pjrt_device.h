// The device that the tests run on: XLA's CPU plug-in, or what DUNLIN_TEST_PJRT_DEVICE names ("gpu",
// "tpu", the path of a plug-in), whose absence is then a failure.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/packed_forms.h"
#include "backend/pjrt/client/client.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin::pjrt {

// As --device takes it.
std::string test_device();
bool on_cpu();

// Tests that need a plug-in skip themselves when the default one was not fetched.
bool has_plugin();
#define DUNLIN_NEEDS_PLUGIN()                                                    \
  if (!pjrt::has_plugin()) {                                                     \
    GTEST_SKIP() << "no CPU plug-in: scripts/fetch-pjrt cpu could not fetch it"; \
  }
// Tests of several devices, or of what only XLA for CPU promises.
#define DUNLIN_NEEDS_CPU_PLUGIN()                                        \
  DUNLIN_NEEDS_PLUGIN();                                                 \
  if (!pjrt::on_cpu()) {                                                 \
    GTEST_SKIP() << "only for cpu-xla, not for " << pjrt::test_device(); \
  }

// How far a value may be from the reference's, relative to max(1, |value|).
struct Tolerance {
  float f32;
  float bf16;
  double parity;  // of a whole model in float32, relative to its largest logit
};
Tolerance tolerance();

// A client with so many virtual devices on the CPU; elsewhere the one client of this process.
std::shared_ptr<const Client> test_client(int64_t devices = 1);
// One back end for each mesh, for the whole process.
Backend& test_backend(const MeshShape& mesh = {});
// Options of the compiler under which it takes half the time.
std::vector<std::string> quick_compilation();

}  // namespace dunlin::pjrt
