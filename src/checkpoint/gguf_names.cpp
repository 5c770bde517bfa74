// One table of tensor names, canonical and GGUF, with the shape of each.
#include "checkpoint/gguf_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/check.h"

namespace dunlin {
namespace {

enum class Extent { none, hidden, intermediate, query, key_value, heads, experts, vocabulary };

using Trait = bool StoredFamily::*;

struct NameRow {
  std::string_view canonical;
  std::string_view gguf;
  Extent out;  // the length of a vector, of a bias, or the rows of a matrix
  Extent in;   // none for a vector
  bool may_have_bias;
  Trait only_with = nullptr;  // null: every family has it
  Trait only_without = nullptr;
  bool stacked = false;  // one for each expert
  bool bare = false;     // the canonical name ends here, without ".weight"
};

bool has_row(const StoredFamily& family, const NameRow& row) {
  return (row.only_with == nullptr || family.*row.only_with) &&
         (row.only_without == nullptr || !(family.*row.only_without));
}

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
    {"self_attn.sinks", "attn_sinks", Extent::heads, Extent::none, false, &StoredFamily::sinks,
     nullptr, false, true},
    {"post_attention_layernorm", "ffn_norm", Extent::hidden, Extent::none, false, nullptr,
     &StoredFamily::post_attention_norm},
    {"post_attention_layernorm", "post_attention_norm", Extent::hidden, Extent::none, false,
     &StoredFamily::post_attention_norm},
    {"mlp.gate_proj", "ffn_gate", Extent::intermediate, Extent::hidden, true, nullptr,
     &StoredFamily::mixture},
    {"mlp.up_proj", "ffn_up", Extent::intermediate, Extent::hidden, true, nullptr,
     &StoredFamily::mixture},
    {"mlp.down_proj", "ffn_down", Extent::hidden, Extent::intermediate, true, nullptr,
     &StoredFamily::mixture},
    {"mlp.router", "ffn_gate_inp", Extent::experts, Extent::hidden, true, &StoredFamily::mixture},
    {"mlp.experts.gate_proj", "ffn_gate_exps", Extent::intermediate, Extent::hidden, true,
     &StoredFamily::mixture, nullptr, true},
    {"mlp.experts.up_proj", "ffn_up_exps", Extent::intermediate, Extent::hidden, true,
     &StoredFamily::mixture, nullptr, true},
    {"mlp.experts.down_proj", "ffn_down_exps", Extent::hidden, Extent::intermediate, true,
     &StoredFamily::mixture, nullptr, true},
};

// A spelling of names.
struct NameSpelling {
  std::string_view NameRow::* column;
  std::string_view layer_prefix;
  bool bare_names;  // rows that are bare have no ".weight" here
};
constexpr NameSpelling kCanonical{&NameRow::canonical, "model.layers.", true};
constexpr NameSpelling kGguf{&NameRow::gguf, "blk.", false};

struct ParsedName {
  const NameRow* row;
  std::string_view layer;  // its digits; empty for a tensor outside the layers
  bool bias;
};

const NameRow* find_row(const StoredFamily& family, std::span<const NameRow> rows,
                        std::string_view NameRow::* column, std::string_view name) {
  const auto it = std::ranges::find_if(
      rows, [&](const NameRow& row) { return row.*column == name && has_row(family, row); });
  return it == rows.end() ? nullptr : &*it;
}

std::optional<ParsedName> parse(const StoredFamily& family, std::string_view name,
                                const NameSpelling& spelling) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view kind = name.substr(dot + 1);
  const bool bare = spelling.bare_names && kind != "weight" && kind != "bias";
  if (!bare && kind != "weight" && kind != "bias") return std::nullopt;
  std::string_view stem = bare ? name : name.substr(0, dot);
  ParsedName parsed{nullptr, {}, kind == "bias"};
  parsed.row = find_row(family, kGlobalNames, spelling.column, stem);
  if (parsed.row == nullptr) {
    if (!stem.starts_with(spelling.layer_prefix)) return std::nullopt;
    stem.remove_prefix(spelling.layer_prefix.size());
    parsed.layer = layer_digits(stem);
    if (parsed.layer.empty()) return std::nullopt;
    parsed.row =
        find_row(family, kLayerNames, spelling.column, stem.substr(parsed.layer.size() + 1));
  }
  if (parsed.row == nullptr || (parsed.bias && !parsed.row->may_have_bias)) return std::nullopt;
  if (spelling.bare_names && bare != parsed.row->bare) return std::nullopt;
  return parsed;
}

std::string spell(const ParsedName& parsed, const NameSpelling& spelling) {
  std::string name;
  if (!parsed.layer.empty()) name = fmt::format("{}{}.", spelling.layer_prefix, parsed.layer);
  name += parsed.row->*spelling.column;
  if (spelling.bare_names && parsed.row->bare) return name;
  return name + (parsed.bias ? ".bias" : ".weight");
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
    case Extent::heads:
      return integer("num_attention_heads");
    case Extent::experts:
      return integer("num_local_experts");
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

std::string_view layer_digits(std::string_view text) {
  const std::string_view digits = text.substr(0, text.find('.'));
  const bool number = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (!number || digits.empty() || digits.size() > 5 || (digits.size() > 1 && digits[0] == '0'))
    return {};
  return digits.size() < text.size() ? digits : std::string_view();
}

std::optional<std::string> canonical_tensor_name(const StoredFamily& family,
                                                 std::string_view gguf_name) {
  const auto parsed = parse(family, gguf_name, kGguf);
  if (!parsed) return std::nullopt;
  return spell(*parsed, kCanonical);
}

std::optional<std::string> gguf_tensor_name(const StoredFamily& family,
                                            std::string_view canonical_name) {
  const auto parsed = parse(family, canonical_name, kCanonical);
  if (!parsed) return std::nullopt;
  return spell(*parsed, kGguf);
}

bool is_canonical_tensor_name(const StoredFamily& family, std::string_view name) {
  return parse(family, name, kCanonical).has_value();
}

bool is_ignored_tensor(std::string_view name) {
  return name == "rope_freqs.weight" || name.ends_with(".rotary_emb.inv_freq");
}

std::vector<std::string> weight_names(const StoredFamily& family, int64_t layers, bool tied) {
  std::vector<std::string> names;
  for (const NameRow& row : kGlobalNames) {
    if (!tied || row.canonical != "lm_head") names.push_back(spell({&row, {}, false}, kCanonical));
  }
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::string digits = fmt::to_string(layer);
    for (const NameRow& row : kLayerNames) {
      if (!has_row(family, row)) continue;
      names.push_back(spell({&row, digits, false}, kCanonical));
      if (family.mixture && row.may_have_bias)
        names.push_back(spell({&row, digits, true}, kCanonical));
    }
  }
  return names;
}

Result<std::vector<int64_t>> canonical_shape(const StoredFamily& family,
                                             std::string_view canonical_name,
                                             const Metadata& config) {
  const auto parsed = parse(family, canonical_name, kCanonical);
  DUNLIN_CHECK(parsed.has_value(), "not a canonical tensor name");
  std::vector<int64_t> shape;
  if (parsed->row->stacked) {
    DUNLIN_ASSIGN_OR_RETURN(const int64_t experts, length_of(Extent::experts, config));
    shape.push_back(experts);
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t out, length_of(parsed->row->out, config));
  shape.push_back(out);
  if (parsed->bias || parsed->row->in == Extent::none) return shape;
  DUNLIN_ASSIGN_OR_RETURN(const int64_t in, length_of(parsed->row->in, config));
  shape.push_back(in);
  return shape;
}

bool is_query_or_key(std::string_view canonical_name) {
  return canonical_name.find(".self_attn.q_proj.") != std::string_view::npos ||
         canonical_name.find(".self_attn.k_proj.") != std::string_view::npos;
}

}  // namespace dunlin
