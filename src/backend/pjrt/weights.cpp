#include "backend/pjrt/weights.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
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

// XLA for CPU copies what does not start at a multiple of this.
constexpr size_t kSharedAlignment = 64;

// The one array of a use where it lies in memory as it is, nothing where it has to be read or copied.
Result<std::optional<HeldBytes>> held_array(const BoxOfWeight& stored, const WeightUse& use,
                                            const TensorType& type) {
  if (use.form.kind != DeviceForm::Kind::values || !stored_as(stored.view.format, type.element))
    return std::optional<HeldBytes>();
  return hold_box(stored.view, stored.box, kSharedAlignment);
}

// Brings weights to the devices, one after the other.
class WeightUploader {
 public:
  WeightUploader(const Client& client, const Program& program, const std::vector<WeightView>& views,
                 const ProgramSharding* sharding, bool may_share, ThreadPool& pool)
      : client_(client),
        program_(program),
        views_(views),
        sharding_(sharding),
        may_share_(may_share && client.platform() == "cpu"),
        pool_(pool),
        reader_(views) {}

  using Arrays = std::vector<std::vector<Buffer>>;  // by device
  Result<Arrays> upload(const WeightUse& use) {
    DUNLIN_ASSIGN_OR_RETURN(const DevicesOfShares shares, shares_of(use.weight));
    Arrays arrays(sharding_ == nullptr ? 1 : static_cast<size_t>(sharding_->devices()));
    for (const auto& [share, devices] : shares) {
      DUNLIN_ASSIGN_OR_RETURN(const BoxOfWeight stored,
                              reader_.box_of(use.weight, {share.first, share.second}));
      DUNLIN_RETURN_IF_ERROR(upload_share(use, stored, devices, arrays));
    }
    return arrays;
  }

 private:
  Result<DevicesOfShares> shares_of(WeightId weight) const {
    const auto index = static_cast<size_t>(weight);
    const WeightView& view = views_[index];
    if (sharding_ != nullptr)
      return devices_of_shares(program_.weights[index], sharding_->weights[index], view,
                               *sharding_);
    DevicesOfShares shares;
    shares[{IndexRuns::all(view.rows), IndexRuns::all(view.columns)}].push_back(0);
    return shares;
  }

  Result<void> upload_share(const WeightUse& use, const BoxOfWeight& stored,
                            const std::vector<int64_t>& devices, Arrays& into) {
    const std::vector<TensorType> types = weight_types(program_, use, sharding_);
    std::optional<HeldBytes> held;
    if (may_share_) {
      DUNLIN_ASSIGN_OR_RETURN(held, held_array(stored, use, types.front()));
    }
    HostArrays bytes;
    if (!held) {
      DUNLIN_ASSIGN_OR_RETURN(bytes, read_arrays(stored.view, stored.box, use, types, pool_));
    }
    for (const int64_t device : devices) {
      for (size_t i = 0; i < types.size(); ++i) {
        DUNLIN_ASSIGN_OR_RETURN(Buffer buffer, held ? client_.share(types[i], *held, device)
                                                    : client_.upload(types[i], bytes[i], device));
        into[static_cast<size_t>(device)].push_back(std::move(buffer));
      }
    }
    return {};
  }

  const Client& client_;
  const Program& program_;
  const std::vector<WeightView>& views_;
  const ProgramSharding* sharding_;
  bool may_share_;
  ThreadPool& pool_;
  WeightReader reader_;
};

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
  WeightUploader uploader(client, program, views, sharding, options.load_mode != LoadMode::copy,
                          *pool);
  for (size_t i = 0; i < uses.size(); ++i) {
    const WeightUse& use = uses[i];
    const std::string& name = program.weights[static_cast<size_t>(use.weight)].name;
    if (options.progress) {
      options.progress(static_cast<double>(i) / static_cast<double>(uses.size()), name);
    }
    auto arrays = uploader.upload(use);
    if (!arrays.ok()) return arrays.error().with_context(name);
    weights.buffers_.emplace(use, std::move(arrays).value());
    weights.bytes_ += static_cast<uint64_t>(weight_bytes(program, use, sharding) * devices);
  }
  if (options.progress) options.progress(1.0, "");
  return weights;
}

}  // namespace dunlin::pjrt
