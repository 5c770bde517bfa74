// One table of operation cases for every back end and instruction set: each case records a small
// Program and a sequence of steps over it. Tests compare all outputs bit for bit with the
// reference; the same cases are the micro-benchmarks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "program/recorder.h"

namespace dunlin {

// Rows of some sequences of the case, as one segment of a step. Sequences are numbered over the
// whole case and keep their cache from step to step.
struct CaseSegment {
  RowClass row_class = RowClass::prompt;
  int32_t rows_each = 1;
  std::vector<int32_t> sequences;
  int32_t start = -1;  // position of the first row; -1: behind what the sequence has
};

struct CaseStep {
  std::vector<CaseSegment> segments;
  bool all_logits = false;  // logit rows: every row; otherwise the last row of each sequence
};

struct OperationCase {
  std::string name;
  std::function<void(Recorder&)> record;
  std::vector<CaseStep> steps;
  Format format = Format::f32;  // of matrices and stacks; vectors and "inputs.*" are F32
  bool stateful = true;         // RecordOptions::stateful
  bool keeps_hidden = false;    // RecordOptions::keeps_hidden; result #1 is the output "hidden"
  bool finite = true;           // all outputs are
  std::vector<std::string> taps;
  std::vector<Precision> precisions{Precision::f32, Precision::automatic, Precision::exact,
                                    Precision::int8, Precision::fast};
};

// Tokens are below this.
inline constexpr int64_t kCaseVocabulary = 96;

// All cases; names are unique.
const std::vector<OperationCase>& operation_cases();
const OperationCase& operation_case(const std::string& name);

// The parts of the table.
std::vector<OperationCase> row_operation_cases();        // operation_cases_rows.cpp
std::vector<OperationCase> linear_operation_cases();     // operation_cases_linear.cpp
std::vector<OperationCase> attention_operation_cases();  // operation_cases_attention.cpp
std::vector<OperationCase> basic_operation_cases();      // operation_cases_basic.cpp
std::vector<OperationCase> block_operation_cases();      // operation_cases_blocks.cpp

// Activations for an operation under test: row t is the row of a random F32 table that token t
// names. One token in 16 has a row of zeros.
Tensor case_input(Recorder& recorder, const std::string& name, int64_t width);

// One step per element, each of one sequence; sequence numbers are `first` and up.
std::vector<CaseStep> steps_of_rows(const std::vector<int32_t>& rows, RowClass row_class,
                                    int32_t first = 0);

}  // namespace dunlin
