// Whole small models: the structures of GPT-OSS and Dream, with every module output as a tap.
#include "operation_cases.h"
#include "support/blocks.h"

namespace dunlin {
namespace {

OperationCase block_case(const std::string& name, Format format,
                         const std::function<void(Recorder&)>& forward) {
  OperationCase result;
  result.name = name + "_" + traits(format).name;
  result.format = format;
  result.record = forward;
  result.taps = {"q.*", "k.*", "v.*", "attn_out.*", "mlp_out.*", "hidden.*"};
  return result;
}

OperationCase gpt_oss_case(Format format) {
  OperationCase result = block_case("block_gpt_oss", format, [](Recorder& r) {
    GptOssSizes sizes;
    sizes.layers = 3;
    record_gpt_oss(r, sizes);
  });
  result.steps = {{{{RowClass::prompt, 13, {0}}}},
                  {{{RowClass::generated, 1, {0}}, {RowClass::prompt, 5, {1}}}},
                  {{{RowClass::generated, 1, {0, 1}}, {RowClass::prompt, 4, {2}}}},
                  {{{RowClass::generated, 1, {2, 0, 1}}}}};
  return result;
}

// The whole canvas in each step, as without a cache, then blocks of it over the cache.
OperationCase dream_case(Format format, bool stateful) {
  OperationCase result = block_case(stateful ? "block_dream_cached" : "block_dream", format,
                                    [](Recorder& r) { record_dream(r, {}); });
  result.stateful = stateful;
  result.steps = {{{{RowClass::prompt, 20, {0}}}, true},
                  {{{RowClass::prompt, 20, {0}, 0}, {RowClass::prompt, 9, {1}}}, true}};
  if (!stateful) return result;
  result.steps.push_back({{{RowClass::generated, 6, {0}, 8}}, true});
  result.steps.push_back({{{RowClass::generated, 4, {0, 1}, 2}}, true});
  return result;
}

}  // namespace

std::vector<OperationCase> block_operation_cases() {
  std::vector<OperationCase> cases;
  for (const Format format : {Format::f32, Format::bf16, Format::q8_0, Format::q4_0}) {
    cases.push_back(gpt_oss_case(format));
    cases.push_back(dream_case(format, true));
  }
  cases.push_back(dream_case(Format::f32, false));
  cases.push_back(dream_case(Format::bf16, false));
  return cases;
}

}  // namespace dunlin
