#include "pjrt_device.h"

#include <cstdlib>
#include <map>
#include <utility>

#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/discover.h"

namespace dunlin::pjrt {
namespace {

// Tests neither find nor leave compiled programs in the user's cache.
[[maybe_unused]] const int kNothingKept = ::setenv("DUNLIN_COMPILE_CACHE", "", /*overwrite=*/1);

std::shared_ptr<const Client> make_client(int64_t virtual_devices) {
  const auto place = find_plugin(test_device());
  EXPECT_TRUE(place.ok()) << place.error().message;
  const auto calls = LocalCalls::load(place->path);
  EXPECT_TRUE(calls.ok()) << calls.error().message;
  auto client = Client::create(*calls, virtual_devices);
  EXPECT_TRUE(client.ok()) << client.error().message;
  return std::move(client).value();
}

}  // namespace

// Compiling takes most of the time of these tests. On the CPU it takes half without LLVM's
// optimisations; on a GPU most of it goes into timing kernels against each other.
std::vector<std::string> quick_compilation() {
  if (on_cpu()) return {"xla_backend_optimization_level=0"};
  if (test_device() == "gpu") return {"xla_gpu_autotune_level=0"};
  return {};
}

std::string test_device() {
  const char* const device = std::getenv("DUNLIN_TEST_PJRT_DEVICE");
  return device == nullptr || *device == '\0' ? "cpu-xla" : device;
}

bool on_cpu() {
  return test_device() == "cpu-xla";
}

bool has_plugin() {
  return !on_cpu() || find_plugin("cpu-xla").ok();
}

Tolerance tolerance() {
  // CPU and GPU compute float32 in float32: only the order of sums and the last bits of exp and
  // rsqrt differ. In bf16 a value may round to the other of two neighbours, 2^-8 apart; of packed
  // weights the reference rounds each one, where a device rounds none.
  if (on_cpu() || test_device() == "gpu") return {.f32 = 2e-5f, .bf16 = 0.02f, .parity = 1e-4};
  // A TPU makes each float32 product of six bf16 products and approximates exp and rsqrt.
  return {.f32 = 1e-4f, .bf16 = 0.02f, .parity = 1e-4};
}

std::shared_ptr<const Client> test_client(int64_t devices) {
  if (on_cpu()) return make_client(devices);
  // Each client would claim memory for itself, and a TPU has room for one. It is never closed: when
  // static objects are destroyed, the device's driver may be gone.
  static const auto& client = *new std::shared_ptr<const Client>(make_client(0));
  return client;
}

Backend& test_backend(const MeshShape& mesh) {
  static std::map<std::string, Backend*>& backends = *new std::map<std::string, Backend*>();
  Backend*& backend = backends[to_string(mesh)];
  if (backend == nullptr) {
    auto made = make_pjrt_backend({.device = test_device(),
                                   .mesh = mesh,
                                   .xla_options = quick_compilation(),
                                   .program_folder = ""});
    EXPECT_TRUE(made.ok()) << made.error().message;
    backend = std::move(made).value().release();
  }
  return *backend;
}

}  // namespace dunlin::pjrt
