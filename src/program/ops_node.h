// What the recording functions share: a node is checked by its rule and appended.
#pragma once

#include <string>
#include <vector>

#include "program/recorder.h"

namespace dunlin {

// The label of a node that reads a weight: the last part of the weight's name without ".weight",
// or `otherwise` when the operand is no weight.
std::string weight_label(const Tensor& weight, const char* otherwise);

// Applies the operation's rule and appends the node. `label` empty: the operation's name. Throws
// ProgramError "file:line: operation name: what is wrong".
std::vector<Tensor> record_node(Recorder& recorder, Op op, Attributes attributes,
                                const std::vector<Tensor>& operands,
                                const std::source_location& where, const ValueType& asked = {},
                                const std::string& label = "");

// The same in the recorder of the operands, which must all be defined; one result.
Tensor record_one(Op op, Attributes attributes, const std::vector<Tensor>& operands,
                  const std::source_location& where, const ValueType& asked = {},
                  const std::string& label = "");

// The recorder that all operands belong to; throws when one is undefined or of another recording.
Recorder& recorder_of(Op op, const std::vector<Tensor>& operands,
                      const std::source_location& where);

}  // namespace dunlin
