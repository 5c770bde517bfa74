#include "checkpoint/quantization_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/text_checks.h"

namespace dunlin {
namespace {

using nlohmann::json;

constexpr const char* kKey = "quantization_config";
constexpr int64_t kMostBlock = 1 << 16;

class QuantizationReader {
 public:
  QuantizationReader(const json& config, const std::string& origin)
      : config_(config), origin_(origin) {}

  Result<QuantizationConfig> read() const {
    if (!config_.is_object()) return wrong("", "is not an object");
    DUNLIN_ASSIGN_OR_RETURN(const std::string method, text(config_, "quant_method", ""));
    if (method == "fp8") return read_fp8();
    if (method == "compressed-tensors") return read_compressed_tensors();
    // Which modules are, their tensors tell.
    if (method == "mxfp4") return QuantizationConfig{.method = method};
    return model_error(fmt::format(
        "{}: {}.quant_method {} is not supported; supported: fp8, compressed-tensors, and "
        "mxfp4 of experts. Use "
        "the original model or a GGUF file",
        origin_, kKey, quoted_text(method)));
  }

 private:
  Error wrong(std::string_view key, std::string_view problem) const {
    return model_error(
        fmt::format("{}: {}{}{} {}", origin_, kKey, key.empty() ? "" : ".", key, problem));
  }
  Error unsupported(std::string_view key, const std::string& value,
                    std::string_view supported) const {
    return wrong(key,
                 fmt::format("{} is not supported; supported: {}", quoted_text(value), supported));
  }

  static const json& at(const json& object, const char* key) {
    static const json kNull;
    const auto it = object.find(key);
    return it == object.end() ? kNull : *it;
  }

  // `path` is that of the object, with a dot behind it.
  Result<std::string> text(const json& object, const char* key, std::string_view path) const {
    const json& value = at(object, key);
    if (!value.is_string()) return wrong(fmt::format("{}{}", path, key), "is not a text");
    return value.get<std::string>();
  }

  Result<std::vector<std::string>> names(const char* key) const {
    const json& value = at(config_, key);
    std::vector<std::string> list;
    if (value.is_null()) return list;
    if (!value.is_array()) return wrong(key, "is not a list");
    for (const json& each : value) {
      if (!each.is_string()) return wrong(key, "is not a list of texts");
      list.push_back(each.get<std::string>());
    }
    return list;
  }

  Result<void> read_block(const json& value, std::string_view key,
                          QuantizationConfig& result) const {
    const auto extent = [](const json& number) {
      return number.is_number_integer() && number >= 1 && number <= kMostBlock;
    };
    if (!value.is_array() || value.size() != 2 || !extent(value[0]) || !extent(value[1]))
      return wrong(key, "is not a list of two block sizes");
    result.block_rows = value[0].get<int64_t>();
    result.block_columns = value[1].get<int64_t>();
    return {};
  }

  Result<QuantizationConfig> read_fp8() const {
    QuantizationConfig result{.method = "fp8", .scale_name = "weight_scale"};
    if (!at(config_, "fmt").is_null()) {
      DUNLIN_ASSIGN_OR_RETURN(const std::string format, text(config_, "fmt", ""));
      if (format != "e4m3" && format != "e5m2") return unsupported("fmt", format, "e4m3, e5m2");
    }
    DUNLIN_ASSIGN_OR_RETURN(result.plain_modules, names("modules_to_not_convert"));
    if (result.plain_modules.empty()) {
      DUNLIN_ASSIGN_OR_RETURN(result.plain_modules, names("ignored_layers"));
    }
    const json& block = at(config_, "weight_block_size");
    if (block.is_null()) return result;
    DUNLIN_RETURN_IF_ERROR(read_block(block, "weight_block_size", result));
    result.scale_name = "weight_scale_inv";
    return result;
  }

  Result<QuantizationConfig> read_compressed_tensors() const {
    QuantizationConfig result{.method = "compressed-tensors", .scale_name = "weight_scale"};
    DUNLIN_ASSIGN_OR_RETURN(const std::string format, text(config_, "format", ""));
    if (format != "float-quantized" && format != "int-quantized" && format != "naive-quantized")
      return unsupported("format", format, "float-quantized, int-quantized, naive-quantized");
    for (const char* key : {"sparsity_config", "transform_config"}) {
      const json& value = at(config_, key);
      const bool dense = value.is_object() && at(value, "format") == "dense";
      if (!value.is_null() && !value.empty() && !dense) return wrong(key, "is not supported");
    }
    DUNLIN_ASSIGN_OR_RETURN(result.plain_modules, names("ignore"));
    const json& groups = at(config_, "config_groups");
    if (!groups.is_object() || groups.empty())
      return wrong("config_groups", "is not an object with a group");
    const json& first = at(*groups.begin(), "weights");
    for (const auto& [name, group] : groups.items()) {
      if (!group.is_object() || at(group, "weights") != first)
        return wrong("config_groups", "has groups with different weights, which is not supported");
    }
    DUNLIN_RETURN_IF_ERROR(read_weights(first, result));
    return result;
  }

  Result<void> read_weights(const json& weights, QuantizationConfig& result) const {
    const std::string path = "config_groups.weights.";
    if (!weights.is_object()) return wrong("config_groups.weights", "is not an object");
    if (at(weights, "num_bits") != 8) return wrong(path + "num_bits", "is not 8");
    if (at(weights, "symmetric") == false)
      return wrong(path + "symmetric", "is false, which is not supported");
    DUNLIN_ASSIGN_OR_RETURN(const std::string type, text(weights, "type", path));
    if (type != "int" && type != "float") return unsupported(path + "type", type, "int, float");
    result.integer = type == "int";
    DUNLIN_ASSIGN_OR_RETURN(const std::string strategy, text(weights, "strategy", path));
    if (strategy == "tensor" || strategy == "channel") return {};
    if (strategy == "block" && !result.integer)
      return read_block(at(weights, "block_structure"), path + "block_structure", result);
    return unsupported(path + "strategy", strategy,
                       result.integer ? "tensor, channel" : "tensor, channel, block");
  }

  const json& config_;
  const std::string& origin_;
};

}  // namespace

Result<std::optional<QuantizationConfig>> read_quantization_config(const json& document,
                                                                   const std::string& origin) {
  const auto it = document.find(kKey);
  if (it == document.end() || it->is_null()) return std::optional<QuantizationConfig>();
  DUNLIN_ASSIGN_OR_RETURN(QuantizationConfig config, QuantizationReader(*it, origin).read());
  return std::optional(std::move(config));
}

}  // namespace dunlin
