#include "pjrt_device.h"

#include "backend/pjrt/discover.h"

namespace dunlin::pjrt {
bool has_plugin() {
  return find_plugin("cpu-xla").ok();
}

std::shared_ptr<const Client> cpu_client(int64_t devices) {
  const auto place = find_plugin("cpu-xla");
  EXPECT_TRUE(place.ok()) << place.error().message;
  const auto plugin = Plugin::load(place->path);
  EXPECT_TRUE(plugin.ok()) << plugin.error().message;
  auto client = Client::create(**plugin, devices);
  EXPECT_TRUE(client.ok()) << client.error().message;
  return std::move(client).value();
}

Backend& cpu_backend() {
  static const std::unique_ptr<Backend> backend = [] {
    // Compiling takes most of the time; without LLVM's optimisations it takes half.
    auto made = make_pjrt_backend({.xla_options = {"xla_backend_optimization_level=0"}});
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(made).value();
  }();
  return *backend;
}

}  // namespace dunlin::pjrt
