// `dunlin tokenize` and `dunlin detokenize`: text to token ids and back, with a model's tokenizer.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/metadata.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/prepared_directory.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/prompts.h"
#include "engine/text_model.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using TokenizerPointer = std::shared_ptr<const Tokenizer>;

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;
  bool ids = false, json = false, batch = false, no_special = false, add_bos = false;
};

// A GGUF file, a directory (its tokenizer files are enough), or a tokenizer.json.
Result<TokenizerPointer> open_tokenizer(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::is_directory(path, ignored) && !is_prepared_directory(path))
    return Tokenizer::from_directory(path);
  const fs::path file(path);
  if (file.filename() == "tokenizer.json") {
    const std::string folder = file.parent_path().string();
    return Tokenizer::from_directory(folder.empty() ? "." : folder);
  }
  if (file.extension() == ".json") return Tokenizer::from_json_file(path);
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  const TextModel text = load_text_model(*checkpoint);
  if (text.tokenizer == nullptr) return *text.tokenizer_error;
  return text.tokenizer;
}

// The configuration of the model that the tokenizer lies beside, if there is one.
Result<Metadata> config_beside(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::path(path).extension() == ".json") {
    const std::string folder = fs::path(path).parent_path().string();
    return read_model_config(folder.empty() ? "." : folder);
  }
  if (fs::is_directory(path, ignored) && !is_prepared_directory(path))
    return read_model_config(path);
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  return checkpoint->config();
}

// How many ids there are: tokens, and rows that the model has beyond them, which decode to nothing (Qwen2.5:
// 152,064 rows for 151,665 tokens).
int64_t count_ids(const Tokenizer& tokenizer, const std::string& model) {
  const int64_t tokens = tokenizer.vocab_size();
  const auto config = config_beside(model);
  if (!config.ok()) return tokens;
  const auto rows = config->integer("vocab_size", 1, INT32_MAX);
  return rows.ok() ? std::max(tokens, *rows) : tokens;
}

// A token as one line can show it: control characters, and the bytes of a token that is not UTF-8,
// as \n or \xNN.
std::string escaped(std::string_view bytes) {
  const bool utf8 = is_valid_utf8(bytes);
  std::string text;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (byte == '\n') {
      text += "\\n";
    } else if (byte == '\t') {
      text += "\\t";
    } else if (byte == '\r') {
      text += "\\r";
    } else if (byte == '\\') {
      text += "\\\\";
    } else if (code < 0x20 || code == 0x7F || (code >= 0x80 && !utf8)) {
      text += fmt::format("\\x{:02x}", code);
    } else {
      text += byte;
    }
  }
  return text;
}

Result<std::vector<int32_t>> encode(const Tokenizer& tokenizer, std::string_view text,
                                    const TokenizeFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(auto ids, tokenizer.encode(text, /*parse_special=*/!flags.no_special));
  if (flags.add_bos) {
    const auto bos = tokenizer.bos_id();
    if (!bos.has_value())
      return usage_error(fmt::format("--add-bos: {} has no beginning-of-text token", flags.model));
    ids.insert(ids.begin(), *bos);
  }
  return ids;
}

void print_tokens(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                  const TokenizeFlags& flags) {
  if (flags.ids) {
    fmt::print("{}\n", Json(ids).dump());
    return;
  }
  if (flags.json) {
    Json pieces = Json::array();
    for (const int32_t id : ids) pieces.push_back(std::string(tokenizer.token_bytes(id)));
    fmt::print("{}\n", json_line({{"schema_version", 1}, {"ids", ids}, {"pieces", pieces}}));
    return;
  }
  for (const int32_t id : ids) fmt::print("{:>7}  {}\n", id, escaped(tokenizer.token_bytes(id)));
}

// Calls f(object, where) for each line of stdin; an empty line is left out.
template <typename F>
Result<void> for_each_line(F&& f) {
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.empty() || line == "\r") continue;
    const std::string where = fmt::format("stdin:{}", number);
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return usage_error(where + ": not a JSON object");
    DUNLIN_RETURN_IF_ERROR(f(object, where));
  }
  return {};
}

// The argument, or all of stdin.
Result<std::string> input_text(const TokenizeFlags& flags, const char* what) {
  if (flags.text.has_value()) return *flags.text;
  if (stdin_is_terminal())
    return usage_error(fmt::format("no {}: give it as an argument or on stdin", what));
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

Result<void> tokenize(const TokenizeFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const TokenizerPointer tokenizer, open_tokenizer(flags.model));
  if (!flags.batch) {
    DUNLIN_ASSIGN_OR_RETURN(const std::string text, input_text(flags, "text"));
    DUNLIN_ASSIGN_OR_RETURN(const auto ids, encode(*tokenizer, text, flags));
    print_tokens(*tokenizer, ids, flags);
    return {};
  }
  return for_each_line([&](const Json& object, const std::string& where) -> Result<void> {
    if (!object.contains("text") || !object["text"].is_string())
      return usage_error(where + ": no \"text\"");
    DUNLIN_ASSIGN_OR_RETURN(
        const auto ids, encode(*tokenizer, object["text"].get_ref<const std::string&>(), flags));
    fmt::print("{}\n", Json{{"ids", ids}}.dump());
    return {};
  });
}

Result<void> detokenize(const TokenizeFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const TokenizerPointer tokenizer, open_tokenizer(flags.model));
  std::optional<int64_t> count;  // of ids; asked for when one is no token's
  const auto decode = [&](const std::vector<int32_t>& ids,
                          const std::string& where) -> Result<std::string> {
    const auto highest = std::ranges::max_element(ids);
    if (highest != ids.end() && *highest >= tokenizer->vocab_size()) {
      if (!count) count = count_ids(*tokenizer, flags.model);
      if (*highest >= *count)
        return usage_error(
            fmt::format("{}: token {} is outside 0..{}", where, *highest, *count - 1));
    }
    return tokenizer->decode(ids, /*skip_special=*/false);
  };
  if (!flags.batch) {
    DUNLIN_ASSIGN_OR_RETURN(const std::string list, input_text(flags, "ids"));
    const Json array = Json::parse(list, nullptr, /*allow_exceptions=*/false);
    const std::string where = flags.text.has_value() ? "ids" : "stdin";
    DUNLIN_ASSIGN_OR_RETURN(const auto ids, ids_of_json(array, where));
    DUNLIN_ASSIGN_OR_RETURN(const std::string text, decode(ids, where));
    // Byte for byte, so that a round trip ends where it began; a terminal gets its line feed.
    write_stdout(text);
    if (stdout_is_terminal()) fmt::print("\n");
    return {};
  }
  return for_each_line([&](const Json& object, const std::string& where) -> Result<void> {
    if (!object.contains("ids")) return usage_error(where + ": no \"ids\"");
    DUNLIN_ASSIGN_OR_RETURN(const auto ids, ids_of_json(object["ids"], where));
    DUNLIN_ASSIGN_OR_RETURN(const std::string text, decode(ids, where));
    fmt::print("{}\n", json_line({{"text", text}}));
    return {};
  });
}

Command add_command(Command app, const char* name, const char* description, TokenizeFlags& flags) {
  Command command = app.add_command(name, description);
  add_flag(command, "model,-m,--model", flags.model,
           "GGUF file, directory with a tokenizer, or tokenizer.json")
      .required()
      .type_name("MODEL")
      .transform(resolve_model);
  add_switch(command, "--batch", flags.batch, "JSON lines in, JSON lines out");
  return command;
}

}  // namespace

void add_tokenize_command(Command app, int& exit_code) {
  auto flags = std::make_shared<TokenizeFlags>();
  Command command = add_command(app, "tokenize", "Text to token ids", *flags);
  Flag batch = command.flag("--batch");
  batch.excludes(add_flag(command, "text", flags->text, "the text (default: the bytes of stdin)"));
  const Flag ids = add_switch(command, "--ids", flags->ids, "print a JSON array of ids");
  add_switch(command, "--json", flags->json, "print one JSON object with ids and pieces")
      .excludes(ids)
      .excludes(batch);
  add_switch(command, "--no-special", flags->no_special, "special tokens in the text are text");
  add_switch(command, "--add-bos", flags->add_bos, "begin with the beginning-of-text token");
  command.footer(
      "Examples:\n"
      "  dunlin tokenize model.gguf \"Hello world\"\n"
      "  dunlin tokenize model/ --ids < text.txt > ids.json\n"
      "  echo '{\"text\":\"Hello\"}' | dunlin tokenize tokenizer.json --batch");
  command.callback([flags, &exit_code] {
    const auto result = tokenize(*flags);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

void add_detokenize_command(Command app, int& exit_code) {
  auto flags = std::make_shared<TokenizeFlags>();
  Command command = add_command(app, "detokenize", "Token ids to text", *flags);
  command.flag("--batch").excludes(
      add_flag(command, "ids", flags->text, "a JSON array of ids (default: stdin)"));
  command.footer(
      "Examples:\n"
      "  dunlin detokenize model.gguf < ids.json\n"
      "  dunlin detokenize model/ \"[9906, 1917]\"");
  command.callback([flags, &exit_code] {
    const auto result = detokenize(*flags);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
