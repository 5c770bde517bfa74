// One table of tensor names, canonical and GGUF, with the shape of each.
#include "checkpoint/gguf_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/check.h"

namespace dunlin {
namespace {

enum class Extent { none, hidden, intermediate, query, key_value, vocabulary };

struct NameRow {
  std::string_view canonical;
  std::string_view gguf;
  Extent out;  // the length of a vector, of a bias, or the rows of a matrix
  Extent in;   // none for a vector
  bool may_have_bias;
};

constexpr NameRow kGlobalNames[] = {
    {"model.embed_tokens", "token_embd", Extent::vocabulary, Extent::hidden, false},
    {"model.norm", "output_norm", Extent::hidden, Extent::none, false},
    {"lm_head", "output", Extent::vocabulary, Extent::hidden, false},
};

constexpr NameRow kLayerNames[] = {
    {"input_layernorm", "attn_norm", Extent::hidden, Extent::none, false},
    {"self_attn.q_proj", "attn_q", Extent::query, Extent::hidden, true},
    {"self_attn.k_proj", "attn_k", Extent::key_value, Extent::hidden, true},
    {"self_attn.v_proj", "attn_v", Extent::key_value, Extent::hidden, true},
    {"self_attn.o_proj", "attn_output", Extent::hidden, Extent::query, true},
    {"post_attention_layernorm", "ffn_norm", Extent::hidden, Extent::none, false},
    {"mlp.gate_proj", "ffn_gate", Extent::intermediate, Extent::hidden, true},
    {"mlp.up_proj", "ffn_up", Extent::intermediate, Extent::hidden, true},
    {"mlp.down_proj", "ffn_down", Extent::hidden, Extent::intermediate, true},
};

constexpr std::string_view kCanonicalLayer = "model.layers.";
constexpr std::string_view kGgufLayer = "blk.";

struct ParsedName {
  const NameRow* row;
  std::string_view layer;  // its digits; empty for a tensor outside the layers
  bool bias;
};

const NameRow* find_row(std::span<const NameRow> rows, std::string_view NameRow::* column,
                        std::string_view name) {
  const auto it = std::ranges::find(rows, name, column);
  return it == rows.end() ? nullptr : &*it;
}

// "12.rest" becomes the digits; empty unless they are a number of up to five digits without leading
// zeros.
std::string_view layer_digits(std::string_view text) {
  const std::string_view digits = text.substr(0, text.find('.'));
  const bool number = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (!number || digits.empty() || digits.size() > 5 || (digits.size() > 1 && digits[0] == '0'))
    return {};
  return digits.size() < text.size() ? digits : std::string_view();
}

std::optional<ParsedName> parse(std::string_view name, std::string_view layer_prefix,
                                std::string_view NameRow::* column) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view kind = name.substr(dot + 1);
  std::string_view stem = name.substr(0, dot);
  ParsedName parsed{nullptr, {}, kind == "bias"};
  if (!parsed.bias && kind != "weight") return std::nullopt;
  parsed.row = find_row(kGlobalNames, column, stem);
  if (parsed.row == nullptr) {
    if (!stem.starts_with(layer_prefix)) return std::nullopt;
    stem.remove_prefix(layer_prefix.size());
    parsed.layer = layer_digits(stem);
    if (parsed.layer.empty()) return std::nullopt;
    parsed.row = find_row(kLayerNames, column, stem.substr(parsed.layer.size() + 1));
  }
  if (parsed.row == nullptr || (parsed.bias && !parsed.row->may_have_bias)) return std::nullopt;
  return parsed;
}

std::string spell(const ParsedName& parsed, std::string_view layer_prefix,
                  std::string_view NameRow::* column) {
  const std::string_view kind = parsed.bias ? "bias" : "weight";
  const std::string_view stem = parsed.row->*column;
  if (parsed.layer.empty()) return fmt::format("{}.{}", stem, kind);
  return fmt::format("{}{}.{}.{}", layer_prefix, parsed.layer, stem, kind);
}

Result<int64_t> length_of(Extent extent, const Metadata& config) {
  constexpr int64_t kLargest = INT64_C(1) << 31;
  const auto integer = [&](const char* key) { return config.integer(key, 1, kLargest); };
  switch (extent) {
    case Extent::hidden:
      return integer("hidden_size");
    case Extent::intermediate:
      return integer("intermediate_size");
    case Extent::vocabulary:
      return integer("vocab_size");
    case Extent::query:
    case Extent::key_value: {
      DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, integer("head_dim"));
      DUNLIN_ASSIGN_OR_RETURN(
          const int64_t heads,
          integer(extent == Extent::query ? "num_attention_heads" : "num_key_value_heads"));
      return heads * head_dim;
    }
    case Extent::none:
      break;
  }
  DUNLIN_CHECK(false, "an extent without a length");
}

}  // namespace

std::optional<std::string> canonical_tensor_name(std::string_view gguf_name) {
  const auto parsed = parse(gguf_name, kGgufLayer, &NameRow::gguf);
  if (!parsed) return std::nullopt;
  return spell(*parsed, kCanonicalLayer, &NameRow::canonical);
}

std::optional<std::string> gguf_tensor_name(std::string_view canonical_name) {
  const auto parsed = parse(canonical_name, kCanonicalLayer, &NameRow::canonical);
  if (!parsed) return std::nullopt;
  return spell(*parsed, kGgufLayer, &NameRow::gguf);
}

bool is_canonical_tensor_name(std::string_view name) {
  return parse(name, kCanonicalLayer, &NameRow::canonical).has_value();
}

bool is_ignored_tensor(std::string_view name) {
  return name == "rope_freqs.weight" || name.ends_with(".rotary_emb.inv_freq");
}

std::vector<std::string> weight_names(int64_t layers, bool tied) {
  std::vector<std::string> names;
  for (const NameRow& row : kGlobalNames) {
    if (!tied || row.canonical != "lm_head")
      names.push_back(fmt::format("{}.weight", row.canonical));
  }
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (const NameRow& row : kLayerNames)
      names.push_back(fmt::format("{}{}.{}.weight", kCanonicalLayer, layer, row.canonical));
  }
  return names;
}

Result<std::vector<int64_t>> canonical_shape(std::string_view canonical_name,
                                             const Metadata& config) {
  const auto parsed = parse(canonical_name, kCanonicalLayer, &NameRow::canonical);
  DUNLIN_CHECK(parsed.has_value(), "not a canonical tensor name");
  DUNLIN_ASSIGN_OR_RETURN(const int64_t out, length_of(parsed->row->out, config));
  if (parsed->bias || parsed->row->in == Extent::none) return std::vector<int64_t>{out};
  DUNLIN_ASSIGN_OR_RETURN(const int64_t in, length_of(parsed->row->in, config));
  return std::vector<int64_t>{out, in};
}

bool is_query_or_key(std::string_view canonical_name) {
  const auto parsed = parse(canonical_name, kCanonicalLayer, &NameRow::canonical);
  return parsed && (parsed->row->gguf == "attn_q" || parsed->row->gguf == "attn_k");
}

}  // namespace dunlin
