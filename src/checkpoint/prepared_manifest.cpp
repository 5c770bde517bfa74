#include "checkpoint/prepared_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "base/json_document.h"
#include "base/metadata_json.h"
#include "base/owned_json.h"
#include "base/text_checks.h"
#include "checkpoint/canonical_config.h"
#include "checkpoint/families.h"
#include "checkpoint/xxh3_hash.h"

namespace dunlin {
namespace {

using Json = nlohmann::json;

constexpr int64_t kVersion = 1;
constexpr size_t kManifestDimensions = 4;

// Nothing for what no value of a configuration is.
std::optional<Metadata::Value> value_of(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_array()) return std::nullopt;
  const auto all = [&json](auto is) { return std::ranges::all_of(json, is); };
  if (all([](const Json& each) { return each.is_number_integer(); }))
    return json.get<std::vector<int64_t>>();
  if (all([](const Json& each) { return each.is_number_float(); }))
    return json.get<std::vector<double>>();
  if (all([](const Json& each) { return each.is_string(); }))
    return json.get<std::vector<std::string>>();
  return std::nullopt;
}

// Reads members of an object; after the first that is missing or of another type, ok() is false.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string origin)
      : object_(object), origin_(std::move(origin)) {}

  std::string text(const char* key) {
    const Json* const found = find(key, Json::value_t::string);
    return found == nullptr ? std::string() : found->get<std::string>();
  }
  const Json& list(const char* key) { return of_type(key, Json::value_t::array); }
  const Json& object(const char* key) { return of_type(key, Json::value_t::object); }
  int64_t number(const char* key) {
    const Json* const found = find(key, Json::value_t::number_unsigned);
    if (found == nullptr || found->get<uint64_t>() > INT64_MAX) return fail(key), 0;
    return found->get<int64_t>();
  }

  void fail(const std::string& what) {
    if (!error_) error_ = model_error(fmt::format("{}: {} is missing or wrong", origin_, what));
  }
  bool ok() const { return !error_; }
  const Error& error() const { return *error_; }

 private:
  const Json* find(const char* key, Json::value_t type) {
    const auto it = object_.is_object() ? object_.find(key) : object_.end();
    if (it != object_.end() && it->type() == type) return &*it;
    fail(key);
    return nullptr;
  }
  const Json& of_type(const char* key, Json::value_t type) {
    static const Json kEmpty = Json::array();
    const Json* const found = find(key, type);
    return found == nullptr ? kEmpty : *found;
  }

  const Json& object_;
  std::string origin_;
  std::optional<Error> error_ = {};
};

bool is_file_name(const std::string& name) {
  return is_visible_ascii(name) && name.find('/') == std::string::npos && !name.starts_with('.');
}

// Scales lie beside the elements of some formats only, and those of integers serve whole rows.
bool is_sound(const TensorInfo& tensor) {
  const FormatTraits& format = traits(tensor.format);
  const int64_t columns = tensor.shape.back();
  if (tensor.scale_columns == 0) return true;
  if (format.largest == 0.0f || tensor.scale_columns > columns) return false;
  return format.group == 0 || tensor.scale_columns == columns;
}

std::vector<TensorInfo> read_tensors(FieldReader& reader, const std::string& origin) {
  std::vector<TensorInfo> tensors;
  for (const Json& each : reader.list("tensors")) {
    FieldReader fields(each, origin);
    TensorInfo tensor;
    tensor.name = fields.text("name");
    const auto format = parse_format(fields.text("format"));
    const auto shape = value_of(fields.list("shape"));
    if (each.is_object() && each.contains("scale_columns"))
      tensor.scale_columns = fields.number("scale_columns");
    const auto* const extents =
        shape.has_value() ? std::get_if<std::vector<int64_t>>(&*shape) : nullptr;
    const bool sound = fields.ok() && is_visible_ascii(tensor.name) && format &&
                       extents != nullptr && !extents->empty() &&
                       extents->size() <= kManifestDimensions &&
                       std::ranges::all_of(*extents, [](int64_t extent) { return extent > 0; });
    if (!sound) {
      reader.fail("a tensor");
      break;
    }
    tensor.format = *format;
    tensor.shape = *extents;
    if (!is_sound(tensor)) {
      reader.fail("scale_columns of a tensor");
      break;
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::vector<PreparedFile> read_files(FieldReader& reader, const std::string& origin) {
  std::vector<PreparedFile> files;
  for (const Json& each : reader.list("files")) {
    FieldReader fields(each, origin);
    PreparedFile file{.name = fields.text("name"),
                      .bytes = static_cast<uint64_t>(fields.number("bytes")),
                      .hash = fields.text("hash")};
    if (!fields.ok() || !is_file_name(file.name)) reader.fail("a file");
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<std::string> read_weights(FieldReader& reader) {
  std::vector<std::string> names;
  for (const Json& each : reader.list("weights")) {
    std::string name = each.is_string() ? each.get<std::string>() : std::string();
    if (!is_file_name(name)) reader.fail("a file of weights");
    names.push_back(std::move(name));
  }
  return names;
}

// With the ranges and agreements that every configuration is checked for.
Result<Metadata> read_config(const Json& json, const std::string& origin) {
  Metadata stored(origin);
  for (const auto& [key, member] : json.items()) {
    auto value = value_of(member);
    if (!value) return model_error(fmt::format("{}: {} has no value", origin, quoted_text(key)));
    stored.set(key, *std::move(value));
  }
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(stored));
  DUNLIN_ASSIGN_OR_RETURN(Metadata config,
                          canonical_config(stored, ConfigSpelling::hugging_face, *family));
  const auto* const ids = std::get_if<std::vector<int64_t>>(stored.find("eos_token_id"));
  if (ids != nullptr) {
    for (const int64_t id : *ids) {
      if (id < 0) return model_error(fmt::format("{}: eos_token_id holds {}", origin, id));
      DUNLIN_RETURN_IF_ERROR(add_eos_token(config, id));
    }
  }
  for (const auto& [key, value] : stored.values()) {
    if (!config.has(key)) config.set(key, value);
  }
  return config;
}

}  // namespace

std::string manifest_text(const PreparedManifest& manifest) {
  Json tensors = Json::array();
  for (const TensorInfo& tensor : manifest.tensors) {
    Json& each = tensors.emplace_back(Json{
        {"name", tensor.name}, {"shape", tensor.shape}, {"format", traits(tensor.format).name}});
    if (tensor.scale_columns > 0) each["scale_columns"] = tensor.scale_columns;
  }
  Json files = Json::array();
  for (const PreparedFile& file : manifest.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"hash", file.hash}});
  Json json = {{"version", kVersion},         {"key", manifest.key},
               {"source", manifest.source},   {"fingerprint", manifest.fingerprint},
               {"packing", manifest.packing}, {"precision", manifest.precision},
               {"mesh", manifest.mesh},       {"config", json_of<Json>(manifest.config)},
               {"tensors", tensors},          {"files", files},
               {"weights", manifest.weights}};
  if (manifest.packing == kStoredPacking) json["axes"] = manifest.axes;
  // A path need not be UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<PreparedManifest> parse_manifest(const std::string& text, const std::string& origin) {
  DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<Json> parsed, parse_json_object(text, origin));
  FieldReader reader(parsed.value, origin);
  const int64_t version = reader.number("version");
  if (reader.ok() && version != kVersion) {
    return model_error(
        fmt::format("{}: version {}; this build reads version {}", origin, version, kVersion));
  }
  PreparedManifest manifest;
  manifest.key = reader.text("key");
  manifest.source = reader.text("source");
  manifest.fingerprint = reader.text("fingerprint");
  manifest.packing = reader.text("packing");
  manifest.precision = reader.text("precision");
  manifest.mesh = reader.text("mesh");
  if (manifest.packing == kStoredPacking) manifest.axes = reader.text("axes");
  manifest.tensors = read_tensors(reader, origin);
  manifest.files = read_files(reader, origin);
  manifest.weights = read_weights(reader);
  const Json& config = reader.object("config");
  if (!reader.ok()) return reader.error();
  DUNLIN_ASSIGN_OR_RETURN(manifest.config, read_config(config, origin));
  return manifest;
}

std::string hash_of(std::string_view text) {
  Xxh3Hash hash;
  hash.bytes(std::as_bytes(std::span(text)));
  return hash.digits();
}

}  // namespace dunlin
