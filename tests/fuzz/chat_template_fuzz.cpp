// Fuzzes chat templates: the input is a template, optionally followed by a NUL byte and the inputs
// as JSON.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tokenizer/jinja/chat_inputs.h"
#include "tokenizer/jinja/chat_template.h"

namespace {

constexpr const char* kInputs =
    R"({"messages":[{"role":"system","content":" Be <|im_end|> brief\n"},
  {"role":"user","content":"Héllo 'x' \"y\"","n":[1,2.5,null,true,{"a":{}}]},{"role":"assistant","content":"",
  "tool_calls":[{"function":{"name":"f","arguments":{"k":[1,"v"]}}}]}],"tools":[{"function":{"name":"f"}}],
  "variables":{"x":"abc","n":3,"l":[3,1,2],"d":{"b":1,"a":2}}})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t separator = text.find('\0');
  auto json = nlohmann::ordered_json::parse(
      separator == text.npos ? kInputs : text.substr(separator + 1), nullptr, false);
  if (!json.is_object()) json = nlohmann::ordered_json::parse(kInputs);
  dunlin::ChatInputs inputs;
  inputs.bos_token = "<s>";
  inputs.messages = json["messages"];
  inputs.tools = json["tools"];
  inputs.variables = json["variables"];
  inputs.now = std::tm{};
  const auto parsed = dunlin::ChatTemplate::parse(text.substr(0, separator), "fuzz");
  if (!parsed.ok()) return 0;
  const auto rendered = parsed->render(inputs);
  if (!rendered.ok()) return 0;
  for (size_t i = 0; i < rendered->size(); ++i) {
    const bool merged = i == 0 || (*rendered)[i].allow_special != (*rendered)[i - 1].allow_special;
    if ((*rendered)[i].text.empty() || !merged) std::abort();
  }
  return 0;
}
