#include "bare_models.h"

#include <map>

#include "backend/weight_shape.h"
#include "base/byte_source.h"

namespace dunlin::pjrt {

Metadata dense_config(const std::string& family, const DenseShape& shape) {
  Metadata config(family);
  config.set("model_type", family);
  config.set("hidden_size", shape.width);
  config.set("num_hidden_layers", shape.layers);
  config.set("num_attention_heads", shape.heads);
  config.set("num_key_value_heads", shape.kv_heads);
  config.set("intermediate_size", shape.ffn);
  config.set("vocab_size", shape.vocabulary);
  config.set("rms_norm_eps", 1e-5);
  config.set("rope_theta", shape.rope_theta);
  return config;
}

WeightSource shapes_of(const Program& program, Format format) {
  std::map<std::string, WeightView> views;
  const auto source = memory_source({}, "no bytes");
  for (const WeightDeclaration& weight : program.weights) {
    const MatrixShape shape = matrix_shape(weight);
    views[weight.name] = WeightView{.name = weight.name,
                                    .format = format,
                                    .rows = shape.rows,
                                    .columns = shape.columns,
                                    .source = source,
                                    .offset = 0,
                                    .row_map = {}};
  }
  return [views](const std::string& name) -> Result<WeightView> { return views.at(name); };
}

}  // namespace dunlin::pjrt
