// Memory, weights and activations for kernels that are run apart from a model.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>

#include "backend/cpu/kernels/kernels.h"

namespace dunlin {

struct Memory {
  explicit Memory(int64_t bytes)
      : size(static_cast<size_t>(bytes + (2 << 20)) / (2 << 20) * (2 << 20)) {
    data = static_cast<std::byte*>(std::aligned_alloc(2 << 20, size));
    madvise(data, size, MADV_HUGEPAGE);
    std::memset(data, 0, size);
  }
  ~Memory() { std::free(data); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  float* floats() const { return reinterpret_cast<float*>(data); }

  size_t size;
  std::byte* data;
};

inline void fill(std::byte* p, int64_t bytes, std::mt19937& random) {
  for (int64_t i = 0; i + 4 <= bytes; i += 4) {
    const uint32_t word = static_cast<uint32_t>(random());
    std::memcpy(p + i, &word, 4);
  }
}

// Enough copies of a matrix that it always comes from memory: 64 MB and more.
struct Weights {
  Weights(PackedLayout shape, int64_t total)
      : layout(shape), copies(total / shape.bytes() + 1), memory(copies * shape.bytes()) {
    std::mt19937 random(1);
    fill(memory.data, copies * layout.bytes(), random);
    // Any bits are codes; scales and floating-point weights become small finite numbers.
    for (int64_t stripe = 0; stripe < copies * layout.stripes(); ++stripe) {
      std::byte* p = memory.data + stripe * layout.stripe_bytes();
      fill_first_line(p);
      p += layout.records_at();
      for (int64_t i = 0; i < layout.records(); ++i) fill_scales(p + i * layout.record_bytes());
    }
  }
  // Of mxfp4 the range of the scales, of wide all of them.
  void fill_first_line(std::byte* stripe) const {
    const float scale = 0x1p-7f;
    for (int64_t i = 0; i < layout.records_at(); i += 4) std::memcpy(stripe + i, &scale, 4);
  }
  void fill_scales(std::byte* record) const {
    if (layout.scale == ScaleType::e8m0) {
      std::memset(record + layout.code_bytes(), 120, 32);
      return;
    }
    for (int64_t i = layout.code_bytes(); i < layout.record_bytes(); i += 2) {
      const uint16_t bits = layout.form == PackedForm::f32 ? (i % 4 == 0 ? 0 : 0x3c00) : 0x3400;
      std::memcpy(record + i, &bits, 2);
    }
  }
  PackedMatrix copy(int64_t i) const { return {layout, memory.data + i % copies * layout.bytes()}; }

  PackedLayout layout;
  int64_t copies;
  Memory memory;
};

inline PackedLayout layout_of(PackedForm form, int64_t rows, int64_t columns) {
  if (form == PackedForm::wide) return wide_layout(rows, columns);
  if (code_bits(form) == 0) return {form, ScaleType::none, 0, rows, columns};
  const bool fp4 = form == PackedForm::mxfp4;
  return {form, fp4 ? ScaleType::e8m0 : ScaleType::f16, 32, rows, columns};
}

}  // namespace dunlin
