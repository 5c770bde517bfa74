// Looked for in this order: environment, scripts/fetch-pjrt's folder, installed Python packages.
#include "backend/pjrt/discover.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "base/user_folders.h"

namespace dunlin::pjrt {
namespace {

namespace fs = std::filesystem;

struct KnownPlugin {
  const char* name;
  const char* fetched_as;              // argument of scripts/fetch-pjrt, and its folder
  const char* variable;                // environment variable with the path; null: none
  std::vector<std::string> libraries;  // inside a folder of Python packages
};

const std::vector<KnownPlugin>& table() {
  static const std::vector<KnownPlugin> rows = {
      {"cpu-xla", "cpu", nullptr, {"xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so"}},
      {"tpu", "tpu", "TPU_LIBRARY_PATH", {"libtpu/libtpu.so"}},
      {"gpu",
       "cuda",
       nullptr,
       {"jax_plugins/xla_cuda13/xla_cuda_plugin.so", "jax_plugins/xla_cuda12/xla_cuda_plugin.so"}},
  };
  return rows;
}

std::string variable(const char* name) {
  const char* value = name == nullptr ? nullptr : std::getenv(name);
  return value == nullptr ? "" : value;
}

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found;
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  globfree(&found);
  return paths;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(separator, start), text.size());
    if (end > start) parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

// Where the python3 that a shell would start may be installed: above its bin folder, and above that
// of each file it is a link to (an environment's python3 links to the system's).
std::vector<std::string> python_roots() {
  constexpr int kMostLinks = 8;
  std::vector<std::string> roots;
  std::error_code error;
  for (const std::string& folder : split(variable("PATH"), ':')) {
    fs::path python = fs::path(folder) / "python3";
    if (!fs::exists(python, error)) continue;
    for (int links = 0; links < kMostLinks; ++links) {
      roots.push_back(python.parent_path().parent_path());
      if (!fs::is_symlink(python, error)) break;
      python = python.parent_path() / fs::read_symlink(python, error);
    }
    break;
  }
  return roots;
}

// Folders of installed Python packages, in the order in which Python would look.
std::vector<std::string> package_folders() {
  std::vector<std::string> folders = split(variable("PYTHONPATH"), ':');
  const auto add = [&folders](const std::string& root, const std::string& below) {
    if (root.empty()) return;
    for (std::string& path : matches(root + below)) folders.push_back(std::move(path));
  };
  add(variable("VIRTUAL_ENV"), "/lib/python3*/site-packages");
  add(variable("CONDA_PREFIX"), "/lib/python3*/site-packages");
  for (const std::string& root : python_roots()) add(root, "/lib/python3*/site-packages");
  add(variable("HOME"), "/.local/lib/python3*/site-packages");
  add("/usr/local", "/lib/python3*/dist-packages");
  add("/usr/local", "/lib/python3*/site-packages");
  add("/usr", "/lib/python3/dist-packages");
  return folders;
}

// Pairs of the variable that JAX reads. Of a name that is there twice the first counts.
std::vector<PluginPlace> named_in_environment() {
  std::vector<PluginPlace> places;
  for (const std::string& pair : split(variable("PJRT_NAMES_AND_LIBRARY_PATHS"), ',')) {
    const size_t colon = pair.find(':');
    if (colon == std::string::npos) continue;
    const std::string name = pair.substr(0, colon);
    if (std::ranges::find(places, name, &PluginPlace::name) == places.end())
      places.push_back({name, pair.substr(colon + 1)});
  }
  return places;
}

std::string locate(const KnownPlugin& plugin) {
  if (const std::string path = variable(plugin.variable); !path.empty()) return path;
  std::vector<std::string> folders = package_folders();
  if (const auto cache = cache_folder())
    folders.insert(folders.begin(), fmt::format("{}/pjrt/{}", *cache, plugin.fetched_as));
  for (const std::string& folder : folders) {
    for (const std::string& library : plugin.libraries) {
      const std::string path = folder + "/" + library;
      std::error_code ignored;
      if (fs::exists(path, ignored)) return path;
    }
  }
  return "";
}

}  // namespace

std::string find_cuda_tools(const std::string& plugin_path) {
  // NVIDIA's wheels for CUDA 13, and for CUDA 12.
  constexpr std::array kPackages = {"nvidia/cu13", "nvidia/cuda_nvcc"};
  // The plug-in lies in PACKAGES/jax_plugins/xla_cuda13.
  std::vector<std::string> folders = {fs::path(plugin_path).parent_path() / "../.."};
  std::ranges::copy(package_folders(), std::back_inserter(folders));
  for (const std::string& folder : folders) {
    for (const char* package : kPackages) {
      const fs::path path = fs::path(folder) / package;
      std::error_code ignored;
      if (fs::exists(path / "bin" / "ptxas", ignored)) return path.lexically_normal();
    }
  }
  return "";
}

std::vector<PluginPlace> known_plugins() {
  std::vector<PluginPlace> places = named_in_environment();
  for (const KnownPlugin& plugin : table()) {
    const bool named = std::ranges::find(places, plugin.name, &PluginPlace::name) != places.end();
    if (!named) places.push_back({plugin.name, locate(plugin)});
  }
  return places;
}

Result<PluginPlace> find_plugin(const std::string& device) {
  if (device.find('/') != std::string::npos) return PluginPlace{device, device};
  std::string names;
  for (const PluginPlace& place : known_plugins()) {
    names += (names.empty() ? "" : ", ") + place.name;
    if (place.name != device) continue;
    if (!place.path.empty()) return place;
    const auto known = std::ranges::find(table(), device, &KnownPlugin::name);
    if (known == table().end()) {
      return Error{
          ErrorKind::device,
          fmt::format("--device {}: PJRT_NAMES_AND_LIBRARY_PATHS names it without a path", device)};
    }
    return Error{ErrorKind::device,
                 fmt::format("--device {}: no plug-in found; scripts/fetch-pjrt {} fetches one",
                             device, known->fetched_as)};
  }
  return usage_error(
      fmt::format("--device {}: unknown ({}, or the path of a plug-in)", device, names));
}

}  // namespace dunlin::pjrt
