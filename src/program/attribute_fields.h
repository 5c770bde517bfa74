// The fields of every attribute struct by name, in order: what print() shows and content_hash()
// hashes. The bindings name every field, so a field added to a struct does not compile until it is
// added here.
#pragma once

#include <variant>

#include "program/attributes.h"

namespace dunlin {

// Calls f(name, value) for each field.
template <typename F>
class FieldVisitor {
 public:
  explicit FieldVisitor(F& f) : f_(f) {}

  void operator()(const NoAttributes&) const {}
  void operator()(const EmbedAttributes& it) const {
    const auto& [scale] = it;
    f_("scale", scale);
  }
  void operator()(const RmsNormAttributes& it) const {
    const auto& [eps, cast_before_weight] = it;
    f_("eps", eps);
    f_("cast_before_weight", cast_before_weight);
  }
  void operator()(const RopeAnglesAttributes& it) const {
    const auto& [inv_freq, scale] = it;
    f_("inv_freq", inv_freq);
    f_("scale", scale);
  }
  void operator()(const RopeAttributes& it) const {
    const auto& [rotary_dim] = it;
    f_("rotary_dim", rotary_dim);
  }
  void operator()(const AttentionAttributes& it) const {
    const auto& [mask, window, scale, softcap, has_sinks, stateful, group, layer] = it;
    f_("mask", mask);
    f_("window", window);
    f_("scale", scale);
    f_("softcap", softcap);
    f_("has_sinks", has_sinks);
    f_("stateful", stateful);
    f_("group", group);
    f_("layer", layer);
  }
  void operator()(const GatedAttributes& it) const {
    const auto& [kind, alpha, limit, keeps_hidden] = it;
    f_("kind", kind);
    f_("alpha", alpha);
    f_("limit", limit);
    // Others print and hash as they did before there was such a result.
    if (keeps_hidden) f_("keeps_hidden", keeps_hidden);
  }
  void operator()(const RouteAttributes& it) const {
    const auto& [k, softmax_first] = it;
    f_("k", k);
    f_("softmax_first", softmax_first);
  }
  void operator()(const ActAttributes& it) const {
    const auto& [kind] = it;
    f_("kind", kind);
  }
  void operator()(const SoftcapAttributes& it) const {
    const auto& [cap] = it;
    f_("cap", cap);
  }
  void operator()(const PoolAttributes& it) const {
    const auto& [kind] = it;
    f_("kind", kind);
  }
  void operator()(const LogitsViewAttributes& it) const {
    const auto& [k] = it;
    f_("k", k);
  }
  void operator()(const TapAttributes& it) const {
    const auto& [name] = it;
    f_("name", name);
  }
  void operator()(const SliceAttributes& it) const {
    const auto& [axis, begin, end, stride] = it;
    f_("axis", axis);
    f_("begin", begin);
    f_("end", end);
    f_("stride", stride);
  }
  void operator()(const AxisAttributes& it) const {
    const auto& [axis, k] = it;
    f_("axis", axis);
    f_("k", k);
  }
  void operator()(const ReduceAttributes& it) const {
    const auto& [kind, axis] = it;
    f_("kind", kind);
    f_("axis", axis);
  }
  void operator()(const ConstAttributes& it) const {
    const auto& [values] = it;
    f_("values", values);
  }
  void operator()(const PermutationAttributes& it) const {
    const auto& [axes] = it;
    f_("axes", axes);
  }
  void operator()(const PadAttributes& it) const {
    const auto& [axis, before, after, value] = it;
    f_("axis", axis);
    f_("before", before);
    f_("after", after);
    f_("value", value);
  }
  void operator()(const DotAttributes& it) const {
    const auto& [batch_left, batch_right, contract_left, contract_right] = it;
    f_("batch_left", batch_left);
    f_("batch_right", batch_right);
    f_("contract_left", contract_left);
    f_("contract_right", contract_right);
  }
  void operator()(const CompareAttributes& it) const {
    const auto& [kind] = it;
    f_("kind", kind);
  }
  void operator()(const UnaryAttributes& it) const {
    const auto& [kind] = it;
    f_("kind", kind);
  }
  void operator()(const BinaryAttributes& it) const {
    const auto& [kind] = it;
    f_("kind", kind);
  }
  void operator()(const ConvertAttributes& it) const {
    const auto& [to] = it;
    f_("to", to);
  }
  void operator()(const StateAttributes& it) const {
    const auto& [group, layer] = it;
    f_("group", group);
    f_("layer", layer);
  }

 private:
  F& f_;
};

template <typename F>
void for_each_field(const Attributes& attributes, F&& f) {
  std::visit(FieldVisitor<F>(f), attributes);
}

}  // namespace dunlin
