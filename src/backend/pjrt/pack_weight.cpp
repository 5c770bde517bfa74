// Devices want the outputs of a matrix side by side, files have its inputs so. Blocks of 64 rows are
// decoded and then written 64 bytes at a time, a cache line each.
#include "backend/pjrt/pack_weight.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/fallible_loop.h"
#include "formats/mxfp4.h"

namespace dunlin::pjrt {
namespace {

using Kind = DeviceForm::Kind;

constexpr int64_t kBlockRows = 64;

// 2^(e - 128) without arithmetic, which would flush the two smallest to zero.
float half_of_exponent(uint8_t e) {
  const uint32_t bits = e >= 2 ? static_cast<uint32_t>(e - 1) << 23 : uint32_t{0x200000} << e;
  return std::bit_cast<float>(bits);
}

// Twice the value of an element.
int8_t doubled(uint8_t code) {
  return static_cast<int8_t>(2.0f * kFp4Values[code]);
}

void put(float value, int64_t index, std::vector<std::byte>& array) {
  std::memcpy(array.data() + index * int64_t{4}, &value, sizeof value);
}

}  // namespace

// Codes [rows,columns], scales and minimums [rows,groups]; exponents in place of scales where the form
// has them.
struct FormPacker::Block {
  Block(int64_t columns, int64_t groups)
      : codes(static_cast<size_t>(kBlockRows * columns)),
        scales(static_cast<size_t>(kBlockRows * groups)),
        minimums(static_cast<size_t>(kBlockRows * groups)),
        exponents(static_cast<size_t>(kBlockRows * groups)) {}

  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<float> minimums;
  std::vector<uint8_t> exponents;
};

FormPacker::FormPacker(const RowForm& row, const DeviceForm& form, int64_t matrices,
                       int64_t outputs)
    : row_(row), form_(form), outputs_(outputs), rows_(matrices * outputs) {
  DUNLIN_CHECK(form.kind != Kind::values, "values are not packed");
  DUNLIN_CHECK(form.group == 0 ? row.scales() == 1 : row.columns % form.group == 0,
               "a row is whole groups");
  if (form.group > 0) groups_ = row.columns / form.group;
  const auto codes = static_cast<size_t>(rows_ * row.columns);
  const auto scales = static_cast<size_t>(rows_ * groups_);
  arrays_.emplace_back(codes);
  arrays_.emplace_back(form.exponents ? scales : 4 * scales);
  if (form.minimums) arrays_.emplace_back(4 * scales);
}

void FormPacker::decode(const std::byte* row, Block& block, int64_t index) const {
  int8_t* const codes = block.codes.data() + index * row_.columns;
  float* const scales = block.scales.data() + index * groups_;
  if (row_.format->format != Format::mxfp4) {
    // With one scale for all, that of the row is the one of each group.
    if (form_.group == 0) {
      std::memcpy(scales, row, sizeof(float));
      std::memcpy(codes, row + row_.scale_bytes(), static_cast<size_t>(row_.columns));
      return;
    }
    row_.decode_groups(row, codes, scales, block.minimums.data() + index * groups_);
    return;
  }
  uint8_t* const exponents = block.exponents.data() + index * groups_;
  auto* const elements = reinterpret_cast<uint8_t*>(codes);
  unpack_mxfp4(row, row_.columns, elements, exponents);
  if (form_.exponents) return;
  for (int64_t k = 0; k < row_.columns; ++k) codes[k] = doubled(elements[k]);
  for (int64_t g = 0; g < groups_; ++g) scales[g] = half_of_exponent(exponents[g]);
}

// Rows [first, first + count) of one matrix.
void FormPacker::store(const Block& block, int64_t matrix, int64_t first, int64_t count) {
  const bool in_rows = form_.kind == Kind::rows || form_.inputs_last;
  const int64_t before = matrix * outputs_;  // rows of the matrices before
  // Where element i of `each` of row r of the block goes.
  const auto place = [&](int64_t r, int64_t i, int64_t each) {
    return in_rows ? (before + first + r) * each + i : before * each + i * outputs_ + first + r;
  };
  std::byte* const codes = arrays_[0].data();
  for (int64_t k = 0; k < row_.columns; ++k) {
    for (int64_t r = 0; r < count; ++r)
      codes[place(r, k, row_.columns)] =
          static_cast<std::byte>(block.codes[static_cast<size_t>(r * row_.columns + k)]);
  }
  for (int64_t g = 0; g < groups_; ++g) {
    for (int64_t r = 0; r < count; ++r) {
      const auto from = static_cast<size_t>(r * groups_ + g);
      const int64_t to = place(r, g, groups_);
      if (form_.exponents) {
        arrays_[1][static_cast<size_t>(to)] = static_cast<std::byte>(block.exponents[from]);
      } else {
        put(block.scales[from], to, arrays_[1]);
      }
      if (form_.minimums) put(block.minimums[from], to, arrays_[2]);
    }
  }
}

// Rows [first, first + count) of all matrices; at most one block.
void FormPacker::pack(const std::byte* rows, int64_t first, int64_t count, Block& block) {
  for (int64_t done = 0; done < count;) {
    const int64_t matrix = (first + done) / outputs_;
    const int64_t within = (first + done) % outputs_;
    const int64_t some = std::min(count - done, outputs_ - within);
    for (int64_t r = 0; r < some; ++r) decode(rows + (done + r) * row_.bytes(), block, r);
    store(block, matrix, within, some);
    done += some;
  }
}

Result<void> FormPacker::add(std::span<const std::byte> rows, ThreadPool& pool) {
  const int64_t count = std::ssize(rows) / row_.bytes();
  DUNLIN_CHECK(count * row_.bytes() == std::ssize(rows) && added_ + count <= rows_, "whole rows");
  const int64_t blocks = (count + kBlockRows - 1) / kBlockRows;
  const auto some = [&](int64_t begin, int64_t end, int /*worker*/) -> Result<void> {
    Block block(row_.columns, groups_);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kBlockRows;
      pack(rows.data() + first * row_.bytes(), added_ + first, std::min(kBlockRows, count - first),
           block);
    }
    return {};
  };
  DUNLIN_RETURN_IF_ERROR(try_parallel_for(pool, blocks, 1, some));
  added_ += count;
  return {};
}

HostArrays FormPacker::take() && {
  DUNLIN_CHECK(added_ == rows_, "every row was added");
  return std::move(arrays_);
}

Result<HostArrays> read_packed(const WeightView& view, const WeightBox& box, const DeviceForm& form,
                               int64_t matrices, ThreadPool& pool) {
  const RowForm row = box_form(view, box);
  FormPacker packer(row, form, matrices, box.rows.extent / matrices);
  const auto add = [&](std::span<const std::byte> piece) { return packer.add(piece, pool); };
  DUNLIN_RETURN_IF_ERROR(read_box(view, box, add));
  return std::move(packer).take();
}

}  // namespace dunlin::pjrt
