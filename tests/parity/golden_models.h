// The golden models of tests/data (made by tools/make_golden.py) and the back ends.
#pragma once

#include <string>
#include <vector>

namespace dunlin {

// Names of the models whose weights are committed, and of those that are written from their recipe.
std::vector<std::string> committed_models();
std::vector<std::string> kernel_models();

std::string golden_path(const std::string& model);
// Of models that fill in masks: the goldens of other thresholds than golden_path's.
std::vector<std::string> threshold_golden_paths(const std::string& model);
// The committed models that have such.
std::vector<std::string> diffusion_models();

// Models of 8-bit weights (made by tools/make_quantized_goldens.py): directories of model/ and
// golden.safetensors.
std::vector<std::string> quantized_folders();

enum class Container { directory, gguf };

// Where the model lies. A kernel model is written to a temporary folder at its first use and
// removed when the tests end.
std::string model_path(const std::string& model, Container container);

struct BackendChoice {
  std::string backend;
  std::string isa;  // empty for the reference
};

// The reference, and the cpu back end for each instruction set, whether this processor has it or not.
std::vector<BackendChoice> all_backends();

// Why the choice cannot run here: "the processor lacks amx_tile"; empty when it can.
std::string refusal(const BackendChoice& choice);

}  // namespace dunlin
