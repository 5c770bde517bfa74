#include "golden_models.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "backend/cpu/isa.h"
#include "base/cpu_features.h"
#include "support/synthetic_model.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(DUNLIN_SOURCE_DIR) / "tests" / "data";

std::vector<std::string> models(bool committed) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kData)) {
    if (!fs::exists(entry.path() / "golden.safetensors")) continue;
    if (fs::exists(entry.path() / "model") == committed) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

// One per process: ctest may run two at a time.
class TemporaryModels : public testing::Environment {
 public:
  static fs::path folder() {
    return fs::path(testing::TempDir()) / ("dunlin_parity_" + std::to_string(getpid()));
  }
  void TearDown() override { fs::remove_all(folder()); }
};

const auto* const kTemporaryModels = testing::AddGlobalTestEnvironment(new TemporaryModels);

std::string written_model(const std::string& model, Container container) {
  const bool gguf = container == Container::gguf;
  const fs::path path = TemporaryModels::folder() / (gguf ? model + ".gguf" : model);
  if (fs::exists(path)) return path;
  fs::create_directories(gguf ? path.parent_path() : path);
  const std::string recipe = kData / model / "recipe.json";
  const auto written =
      gguf ? write_synthetic_gguf(recipe, path) : write_synthetic_directory(recipe, path);
  EXPECT_TRUE(written.ok()) << written.error().message;
  return path;
}

}  // namespace

std::vector<std::string> committed_models() {
  return models(true);
}

std::vector<std::string> kernel_models() {
  return models(false);
}

std::vector<std::string> quantized_folders() {
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator(kData / "quantized"))
    folders.push_back(entry.path());
  std::ranges::sort(folders);
  return folders;
}

std::string golden_path(const std::string& model) {
  return kData / model / "golden.safetensors";
}

std::vector<std::string> threshold_golden_paths(const std::string& model) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(kData / model)) {
    if (entry.path().filename().string().starts_with("golden_threshold_"))
      paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

std::vector<std::string> diffusion_models() {
  std::vector<std::string> names = committed_models();
  std::erase_if(names,
                [](const std::string& name) { return threshold_golden_paths(name).empty(); });
  return names;
}

std::string model_path(const std::string& model, Container container) {
  const bool gguf = container == Container::gguf;
  const fs::path committed = kData / model / (gguf ? "model.gguf" : "model");
  return fs::exists(committed) ? committed.string() : written_model(model, container);
}

std::vector<BackendChoice> all_backends() {
  std::vector<BackendChoice> choices = {{"reference", ""}};
  for (const Isa isa : isas_up_to(kHighestIsa)) choices.push_back({"cpu", isa_name(isa)});
  return choices;
}

std::string refusal(const BackendChoice& choice) {
  for (const cpu::IsaCandidate& candidate : cpu::isa_candidates(cpu_features())) {
    if (choice.isa == isa_name(candidate.isa)) return candidate.refusal;
  }
  return {};
}

}  // namespace dunlin
