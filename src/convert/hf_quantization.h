// Models of 8-bit elements with scales beside them, as Hugging Face directories hold them.
#pragma once

#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "convert/choose_formats.h"
#include "convert/hf_tensors.h"

namespace dunlin {

// The tensors of a directory in a scaled type (QuantizeType::is_scaled): matrices of the layers in
// the type's format, each followed by its scales; embedding, output and vectors as they are, which
// is what other programs expect. `fallbacks` gets the matrices whose rows are not whole blocks;
// those stay as they are too. Errors (kind usage): options that mean nothing for these types; those
// of hf_tensors.
Result<HfTensors> scaled_hf_tensors(const Checkpoint& checkpoint, const FormatOptions& options,
                                    std::vector<Fallback>& fallbacks);

}  // namespace dunlin
