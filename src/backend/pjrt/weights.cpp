#include "backend/pjrt/weights.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "backend/weight_shape.h"
#include "backend/weight_share.h"
#include "base/cpu_features.h"
#include "base/float16.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;

bool stored_as(Format format, Element element) {
  return (format == Format::f32 && element == Element::f32) ||
         (format == Format::f16 && element == Element::f16) ||
         (format == Format::bf16 && element == Element::bf16);
}

void convert_values(const float* values, int64_t count, Element element, std::byte* into) {
  if (element == Element::f32) {
    std::memcpy(into, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  DUNLIN_CHECK(element == Element::bf16, "weights are float32 or bf16 once decoded");
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = to_bfloat16(values[i]).bits;
    std::memcpy(into + 2 * i, &bits, 2);
  }
}

}  // namespace

Result<std::vector<std::byte>> read_weight(const WeightView& view, Element element) {
  const int64_t row_elements = view.columns;
  std::vector<std::byte> result(
      static_cast<size_t>(view.rows * row_elements * element_bytes(element)));
  if (stored_as(view.format, element)) {
    DUNLIN_RETURN_IF_ERROR(view.read_rows(0, view.rows, result));
    return result;
  }
  const int64_t row_bytes = std::max<int64_t>(1, view.bytes_per_row());
  const int64_t most = std::max<int64_t>(1, kPieceBytes / row_bytes);
  std::vector<std::byte> stored(static_cast<size_t>(std::min(most, view.rows) * row_bytes));
  std::vector<float> decoded(static_cast<size_t>(std::min(most, view.rows) * row_elements));
  for (int64_t first = 0; first < view.rows; first += most) {
    const int64_t count = std::min(most, view.rows - first);
    const std::span piece(stored.data(), static_cast<size_t>(count * view.bytes_per_row()));
    DUNLIN_RETURN_IF_ERROR(view.read_rows(first, count, piece));
    view.row_form().decode(stored.data(), count, decoded.data());
    convert_values(decoded.data(), count * row_elements, element,
                   result.data() + first * row_elements * element_bytes(element));
  }
  return result;
}

Result<std::vector<std::byte>> read_share(const WeightView& view, const WeightBox& share,
                                          Element element) {
  const RowForm form = box_form(view, share);
  const int64_t columns = share.columns.extent;
  std::vector<std::byte> result;
  result.reserve(static_cast<size_t>(share.rows.extent * columns * element_bytes(element)));
  std::vector<std::byte> stored;  // a vector may come in pieces of its only row
  std::vector<float> decoded;
  const TakeBox take = [&](std::span<const std::byte> piece) -> Result<void> {
    std::vector<std::byte>& into = stored_as(view.format, element) ? result : stored;
    into.insert(into.end(), piece.begin(), piece.end());
    const int64_t count = static_cast<int64_t>(stored.size()) / form.bytes();
    if (count == 0) return {};
    decoded.resize(static_cast<size_t>(count * columns));
    form.decode(stored.data(), count, decoded.data());
    stored.erase(stored.begin(),
                 stored.begin() + static_cast<std::ptrdiff_t>(count * form.bytes()));
    const size_t before = result.size();
    result.resize(before + static_cast<size_t>(count * columns * element_bytes(element)));
    convert_values(decoded.data(), count * columns, element, result.data() + before);
    return {};
  };
  DUNLIN_RETURN_IF_ERROR(read_box(view, share, take));
  return result;
}

Result<HostArrays> read_arrays(const WeightView& view, const WeightBox& box, const WeightUse& use,
                               const std::vector<TensorType>& types, ThreadPool& pool) {
  if (use.form.kind != DeviceForm::Kind::values) {
    const Shape& codes = types.front().dims;
    const bool stack = codes.size() == (use.form.kind == DeviceForm::Kind::groups ? 4u : 3u);
    return read_packed(view, box, use.form, stack ? codes.front() : 1, pool);
  }
  const Element element = types.front().element;
  const bool whole = box.rows.is_all_of(view.rows) && box.columns.is_all_of(view.columns);
  HostArrays arrays;
  DUNLIN_ASSIGN_OR_RETURN(auto values,
                          whole ? read_weight(view, element) : read_share(view, box, element));
  arrays.push_back(std::move(values));
  return arrays;
}

namespace {

// Which devices hold the same part of a weight.
using DevicesOfShares = std::map<std::pair<IndexRuns, IndexRuns>, std::vector<int64_t>>;

Result<DevicesOfShares> devices_of_shares(const WeightDeclaration& weight, const Layout& layout,
                                          const WeightView& view, const ProgramSharding& sharding) {
  const WeightDeclaration declaration = declaration_of(weight, layout);
  DevicesOfShares devices;
  for (int64_t device = 0; device < sharding.devices(); ++device) {
    const Coordinates place = coordinates_of(sharding.mesh(), device);
    DUNLIN_ASSIGN_OR_RETURN(WeightBox share,
                            weight_share(declaration, view, sharding.sharding, place));
    devices[{std::move(share.rows), std::move(share.columns)}].push_back(device);
  }
  return devices;
}

// Of one weight: by device, its arrays.
Result<std::vector<std::vector<Buffer>>> upload_weight(const Client& client, const Program& program,
                                                       const WeightView& view, const WeightUse& use,
                                                       const ProgramSharding* sharding,
                                                       WeightReader& reader, ThreadPool& pool) {
  const auto index = static_cast<size_t>(use.weight);
  const std::vector<TensorType> types = weight_types(program, use, sharding);
  DevicesOfShares shares;
  if (sharding == nullptr) {
    shares[{IndexRuns::all(view.rows), IndexRuns::all(view.columns)}].push_back(0);
  } else {
    DUNLIN_ASSIGN_OR_RETURN(shares, devices_of_shares(program.weights[index],
                                                      sharding->weights[index], view, *sharding));
  }
  std::vector<std::vector<Buffer>> arrays(
      sharding == nullptr ? 1 : static_cast<size_t>(sharding->devices()));
  for (const auto& [share, devices] : shares) {
    DUNLIN_ASSIGN_OR_RETURN(const BoxOfWeight stored,
                            reader.box_of(use.weight, {share.first, share.second}));
    DUNLIN_ASSIGN_OR_RETURN(const HostArrays bytes,
                            read_arrays(stored.view, stored.box, use, types, pool));
    for (const int64_t device : devices) {
      for (size_t i = 0; i < types.size(); ++i) {
        DUNLIN_ASSIGN_OR_RETURN(Buffer buffer, client.upload(types[i], bytes[i], device));
        arrays[static_cast<size_t>(device)].push_back(std::move(buffer));
      }
    }
  }
  return arrays;
}

}  // namespace

Result<DeviceWeights> DeviceWeights::load(const Client& client, const Program& program,
                                          const std::vector<WeightView>& views,
                                          const std::vector<WeightUse>& uses,
                                          const CompileOptions& options,
                                          const ProgramSharding* sharding) {
  DeviceWeights weights;
  const int threads = options.threads > 0 ? options.threads : cpu_features().cores;
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(std::clamp(threads, 1, 1024)));
  const int64_t devices = sharding == nullptr ? 1 : sharding->devices();
  WeightReader reader(views);
  for (size_t i = 0; i < uses.size(); ++i) {
    const WeightUse& use = uses[i];
    const WeightView& view = views[static_cast<size_t>(use.weight)];
    const std::string& name = program.weights[static_cast<size_t>(use.weight)].name;
    if (options.progress) {
      options.progress(static_cast<double>(i) / static_cast<double>(uses.size()), name);
    }
    auto arrays = upload_weight(client, program, view, use, sharding, reader, *pool);
    if (!arrays.ok()) return arrays.error().with_context(name);
    weights.buffers_.emplace(use, std::move(arrays).value());
    weights.bytes_ += static_cast<uint64_t>(weight_bytes(program, use, sharding) * devices);
  }
  if (options.progress) options.progress(1.0, "");
  return weights;
}

}  // namespace dunlin::pjrt
