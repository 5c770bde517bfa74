// `dunlin inspect`: what a model file holds, from its headers; weights are read for --verify and
// --shard only.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "backend/cpu/fuse.h"
#include "base/metadata_json.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/prepared_files.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/inspect_mesh.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/model.h"
#include "models/registry.h"
#include "program/mesh.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string model;
  std::string mesh;
  int64_t shard = 0;
  int64_t layers = -1;
  std::vector<std::string> disable;
  bool json = false, tensors = false, chat_template = false, program = false, verify = false;
};

Json formats_json(const Checkpoint& checkpoint) {
  std::map<Format, int64_t> counts;
  for (const TensorInfo& tensor : checkpoint.tensors()) ++counts[tensor.format];
  Json object = Json::object();
  for (const auto& [format, count] : counts) object[traits(format).name] = count;
  return object;
}

Json tensors_json(const Checkpoint& checkpoint) {
  Json array = Json::array();
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const uint64_t beside = tensor.exponents ? tensor.exponents->bytes : 0;
    array.push_back({{"name", tensor.name},
                     {"canonical_name", tensor.canonical_name},
                     {"shape", tensor.shape},
                     {"format", traits(tensor.format).name},
                     {"bytes", tensor.bytes - beside},
                     {"file", tensor.file},
                     {"offset", tensor.offset}});
    if (!tensor.exponents) continue;
    array.back()["exponents"] = {{"name", tensor.exponents->name},
                                 {"bytes", tensor.exponents->bytes},
                                 {"file", tensor.exponents->file},
                                 {"offset", tensor.exponents->offset}};
  }
  return array;
}

Json id_json(std::optional<int32_t> id) {
  return id.has_value() ? Json(*id) : Json(nullptr);
}

Json tokenizer_json(const TextModel& text) {
  if (text.tokenizer == nullptr)
    return {{"available", false}, {"why_not", text.tokenizer_error->message}};
  const Tokenizer& tokenizer = *text.tokenizer;
  int64_t special = 0;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) special += tokenizer.is_special(id);
  Json object = {{"available", true},
                 {"vocab_size", tokenizer.vocab_size()},
                 {"special_tokens", special},
                 {"bos_id", id_json(tokenizer.bos_id())},
                 {"eos_id", id_json(tokenizer.eos_id())},
                 {"adds_bos", tokenizer.adds_bos()},
                 {"chat_template", text.chat_template.has_value()},
                 {"harmony", text.harmony.has_value()}};
  if (text.chat_template_error.has_value())
    object["chat_template_why_not"] = text.chat_template_error->message;
  return object;
}

// The values of a flat object, one a line; long lists are cut.
std::string object_table(const Json& object) {
  constexpr size_t kLongest = 100;
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : object.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : json_line(value);
    if (text.size() > kLongest) text.replace(kLongest, std::string::npos, "...");
    rows.push_back({"  " + key, std::move(text)});
  }
  const std::vector<TableColumn> columns = {{""}, {""}};
  const std::string table = aligned_table(columns, rows);
  return table.substr(table.find('\n') + 1);
}

Json prepared_json(const Checkpoint& checkpoint) {
  const auto prepared = checkpoint.prepared_files();
  if (prepared == nullptr) return nullptr;
  Json object = Json::object();
  for (const auto& [name, value] : prepared->facts()) object[name] = value;
  if (!prepared->is_for_mesh()) return object;
  object["shards"] = Json::array();
  for (const PreparedFiles::File& file : prepared->files()) {
    object["shards"].push_back({{"file", file.path},
                                {"place", file.contents->place},
                                {"weights", file.contents->parts.size()},
                                {"bytes", file.weights_bytes()}});
  }
  return object;
}

std::string prepared_text(Json prepared) {
  std::string text = "prepared\n";
  const Json shards = prepared.value("shards", Json::array());
  prepared.erase("shards");
  text += object_table(prepared);
  if (shards.empty()) return text;
  std::vector<std::vector<std::string>> rows;
  for (const Json& shard : shards) {
    rows.push_back({shard["file"].get<std::string>(), shard["place"].get<std::string>(),
                    json_line(shard["weights"]),
                    fmt::format("{:.1f}", shard["bytes"].get<double>() / 1e6)});
  }
  const std::vector<TableColumn> columns = {{"shard"}, {"place"}, {"weights", true}, {"MB", true}};
  return text + aligned_table(columns, rows);
}

Json model_json(const Checkpoint& checkpoint, const std::string& family) {
  return {{"schema_version", 1},
          {"path", checkpoint.path()},
          {"container", checkpoint.container()},
          {"family", family},
          {"parameters", parameter_count(checkpoint)},
          {"bytes", tensor_bytes(checkpoint)},
          {"formats", formats_json(checkpoint)},
          {"prepared", prepared_json(checkpoint)},
          {"config", json_of<Json>(checkpoint.config())},
          {"tokenizer", tokenizer_json(load_text_model(checkpoint))},
          {"tensors", tensors_json(checkpoint)}};
}

std::string tensor_table(const Checkpoint& checkpoint) {
  const std::vector<TableColumn> columns = {{"name"},        {"shape"},        {"format"},
                                            {"bytes", true}, {"offset", true}, {"file"}};
  std::vector<std::vector<std::string>> rows;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    rows.push_back({tensor.name, fmt::format("[{}]", fmt::join(tensor.shape, ", ")),
                    traits(tensor.format).name, fmt::to_string(tensor.bytes),
                    fmt::to_string(tensor.offset), tensor.file});
  }
  return aligned_table(columns, rows);
}

void print_summary(const Checkpoint& checkpoint, const std::string& family) {
  const Json model = model_json(checkpoint, family);
  fmt::print("model       {} ({})\n", checkpoint.path(), checkpoint.container());
  fmt::print("family      {}, {:.1f} M parameters\n", family,
             static_cast<double>(parameter_count(checkpoint)) / 1e6);
  fmt::print("tensors     {}: {}, {:.1f} MB (--tensors lists them)\n", checkpoint.tensors().size(),
             format_summary(checkpoint), static_cast<double>(tensor_bytes(checkpoint)) / 1e6);
  if (model["prepared"].is_object()) fmt::print("{}", prepared_text(model["prepared"]));
  fmt::print("config\n{}tokenizer\n{}", object_table(model["config"]),
             object_table(model["tokenizer"]));
}

// What the CPU back end makes of the Program: a line for each step, with the rewrites that made it and
// the nodes that it runs.
std::string steps_text(const Program& program, const std::vector<std::string>& disabled) {
  std::vector<std::vector<std::string>> rows;
  for (const cpu::FusedStep& step : cpu::fuse(program, disabled)) {
    std::string name = op_name(program.nodes[static_cast<size_t>(step.node)].op);
    for (const char* rewrite : step.rewrites()) name += fmt::format("+{}", rewrite);
    std::vector<std::string> nodes;
    for (const int32_t number : step.nodes())
      nodes.push_back(program.nodes[static_cast<size_t>(number)].name);
    rows.push_back({name, fmt::format("{}", fmt::join(nodes, ", "))});
  }
  const std::vector<TableColumn> columns = {{"step"}, {"nodes"}};
  return fmt::format("steps of the back end cpu: {}\n{}", rows.size(),
                     aligned_table(columns, rows));
}

// Reads all weights.
Result<void> verify_checksums(const Checkpoint& checkpoint) {
  const auto prepared = checkpoint.prepared_files();
  if (prepared == nullptr) {
    return usage_error(fmt::format("--verify: {} is no prepared directory, and has no checksums",
                                   checkpoint.path()));
  }
  ProgressBar bar(true);
  DUNLIN_RETURN_IF_ERROR(
      prepared->check([&bar](double fraction) { bar.update(fraction, "checksums"); }));
  bar.clear();
  fmt::print("{}: all checksums agree\n", checkpoint.path());
  return {};
}

Result<void> inspect(const InspectFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(flags.model));
  if (flags.verify) return verify_checksums(*checkpoint);
  if (!flags.mesh.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(const MeshShape mesh, parse_mesh_shape(flags.mesh));
    return flags.shard == 0 ? print_shards(*checkpoint, mesh, flags.json)
                            : print_shard_reads(*checkpoint, mesh, flags.shard, flags.json);
  }
  DUNLIN_ASSIGN_OR_RETURN(const std::string family, checkpoint->config().text("model_type"));
  if (flags.program) {
    DUNLIN_ASSIGN_OR_RETURN(const Program program,
                            record_model(checkpoint->config(), {.layers = flags.layers}));
    fmt::print("{}\n{}", print(program),
               steps_text(program, disabled_optimizations(flags.disable)));
  } else if (flags.chat_template) {
    DUNLIN_ASSIGN_OR_RETURN(const std::string source, chat_template_source(*checkpoint));
    fmt::print("{}{}", source, source.ends_with('\n') ? "" : "\n");
  } else if (flags.json) {
    fmt::print("{}\n", json_line(model_json(*checkpoint, family)));
  } else if (flags.tensors) {
    fmt::print("{}", tensor_table(*checkpoint));
  } else {
    print_summary(*checkpoint, family);
  }
  return {};
}

}  // namespace

void add_inspect_command(Command app, int& exit_code) {
  Command command = app.add_command("inspect", "Show what a model file holds");
  auto flags = std::make_shared<InspectFlags>();
  add_flag(command, "model,-m,--model", flags->model,
           "Hugging Face directory, .gguf file or prepared directory")
      .required()
      .type_name("MODEL")
      .transform(resolve_model);
  Flag json = add_switch(command, "--json", flags->json, "print one JSON object with all");
  Flag tensors = add_switch(command, "--tensors", flags->tensors,
                            "list the tensors: shape, format, bytes, offset in the file");
  Flag source = add_switch(command, "--template", flags->chat_template, "print the chat template");
  const Flag program = add_switch(command, "--program", flags->program,
                                  "print the Program: every operation of the forward pass "
                                  "(docs/decisions/0001-program.md), and "
                                  "the steps that the CPU back end fuses them into");
  Flag verify = add_switch(command, "--verify", flags->verify,
                           "of a prepared directory: compare every byte with its checksum");
  Flag mesh = add_flag(command, "--mesh", flags->mesh,
                       "what the devices of this mesh hold of the weights: a row for every shard")
                  .type_name("AXIS=N,..");
  add_flag(command, "--shard", flags->shard,
           "with --mesh: read this shard, counted from 1, as a device would, and count the bytes")
      .type_name("N")
      .check(in_range(1, int64_t{1} << 24))
      .needs(mesh);
  add_layers_flag(command, flags->layers, "only the first N layers of the Program").needs(program);
  add_disable_flag(command, flags->disable).needs(program);
  json.excludes(tensors).excludes(source).excludes(program);
  tensors.excludes(source).excludes(program);
  source.excludes(program);
  mesh.excludes(tensors).excludes(source).excludes(program).excludes(verify);
  verify.excludes(json).excludes(tensors).excludes(source).excludes(program);
  command.footer(
      "Examples:\n"
      "  dunlin inspect model.gguf\n"
      "  dunlin inspect model/ --json | jq '.tensors | length'\n"
      "  dunlin inspect model/ --program --layers 1 --disable input_norm\n"
      "  dunlin inspect model-cpu/ --verify\n"
      "  dunlin inspect model/ --mesh model=8 --shard 2");
  command.callback([flags, &exit_code] {
    const auto result = inspect(*flags);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
