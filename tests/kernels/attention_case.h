// The cases of attention: head sizes, groups, windows, sinks, caps, lengths around pages and splits,
// missing pages, values that are not finite; queries and pages of each, and the expected results.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "kernel_case.h"

namespace dunlin {

struct AttentionCase {
  std::string name;
  int64_t head_dim;
  int64_t group;
  int64_t length;
  std::vector<int32_t> positions;
  bool causal = true;
  int64_t window = 0;
  float softcap = 0.0f;
  bool sinks = false;
  std::vector<int64_t> missing = {};
  KvType type = KvType::bf16;
  std::vector<int64_t> infinite = {};  // positions whose value is not a number like others
};

inline std::vector<int32_t> last_rows(int32_t length, int32_t rows) {
  std::vector<int32_t> positions;
  for (int32_t t = length - rows; t < length; ++t) positions.push_back(t);
  return positions;
}

inline std::vector<AttentionCase> float_attention_cases() {
  return {
      {"one_key", 64, 3, 1, {0}},
      {"page_border_15", 64, 3, 15, {14}},
      {"page_border_16", 64, 3, 16, {15}},
      {"page_border_17", 64, 3, 17, {16}},
      {"block_border_32", 64, 1, 32, {31}},
      {"block_border_33", 64, 8, 33, {32}},
      {"split_border_255", 64, 7, 255, {254}},
      {"split_border_256", 64, 7, 256, {255}},
      {"split_border_257", 64, 7, 257, {256}},
      {"three_splits_128", 128, 4, 700, {699}},
      {"head_80", 80, 3, 300, last_rows(300, 5)},
      {"head_40", 40, 2, 50, last_rows(50, 3)},
      {"head_256", 256, 2, 70, last_rows(70, 2)},
      {"prompt", 64, 3, 300, last_rows(300, 300)},
      {"prompt_chunk", 128, 7, 530, last_rows(530, 19)},
      {"window", 64, 3, 600, last_rows(600, 9), true, 100},
      {"window_of_one_split", 64, 3, 600, last_rows(600, 33), true, 256},
      {"window_of_one_key", 64, 1, 40, last_rows(40, 4), true, 1},
      {"full", 64, 3, 290, last_rows(290, 32), false},
      {"full_rows_anywhere", 64, 3, 290, {7, 250, 16, 289}, false},
      {"sinks", 64, 8, 270, last_rows(270, 6), true, 128, 0.0f, true},
      {"softcap", 64, 3, 100, last_rows(100, 6), true, 0, 30.0f},
      {"missing_pages", 64, 3, 600, last_rows(600, 7), true, 0, 0.0f, false, {0, 1, 5, 17, 18, 36}},
      {"missing_split",
       64,
       3,
       600,
       last_rows(600, 7),
       true,
       0,
       0.0f,
       true,
       {16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}},
      {"prompt_of_groups_of_4", 64, 4, 530, last_rows(530, 49)},
      {"prompt_of_groups_of_5", 128, 5, 270, last_rows(270, 53), true, 130, 0.0f, true},
      {"head_80_prompt", 80, 3, 300, last_rows(300, 40)},
      {"infinite_value_unseen_by_a_row",
       64,
       16,
       330,
       {250, 300},
       true,
       0,
       0.0f,
       false,
       {},
       KvType::bf16,
       {257}},
      {"sixteen_queries", 128, 8, 400, last_rows(400, 2)},
      {"infinite_value",
       64,
       4,
       330,
       last_rows(330, 40),
       true,
       0,
       0.0f,
       false,
       {},
       KvType::bf16,
       {310}},
      {"infinite_value_behind_a_window",
       64,
       4,
       330,
       last_rows(330, 40),
       true,
       60,
       0.0f,
       false,
       {},
       KvType::bf16,
       {235}},
      {"float_cache", 64, 3, 300, last_rows(300, 20), true, 0, 0.0f, false, {2}, KvType::f32},
      {"float_cache_80", 80, 7, 270, last_rows(270, 3), true, 90, 20.0f, true, {}, KvType::f32},
  };
}

// All, and those in bf16 once more in int8.
inline const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases = [] {
    std::vector<AttentionCase> all = float_attention_cases();
    for (AttentionCase& each : float_attention_cases()) {
      if (each.type != KvType::bf16) continue;
      each.name += "_int8";
      each.type = KvType::int8;
      all.push_back(std::move(each));
    }
    return all;
  }();
  return cases;
}

// Two kv heads share the page table, as in a real cache; every slot starts as NaN.
class AttentionTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    case_ = &attention_cases()[static_cast<size_t>(GetParam())];
    const AttentionCase& c = *case_;
    std::mt19937 random(static_cast<uint32_t>(GetParam()));
    const int64_t pages = (c.length + 15) / 16;
    page_ids_.resize(static_cast<size_t>(pages));
    for (int64_t p = 0; p < pages; ++p)
      page_ids_[static_cast<size_t>(p)] = static_cast<int32_t>((p * 7 + 3) % (pages * 8));
    std::shuffle(page_ids_.begin(), page_ids_.end(), random);
    cache_.head_dim = c.head_dim;
    cache_.length = c.length;
    cache_.k = random_floats(c.length * c.head_dim, random);
    cache_.v = random_floats(c.length * c.head_dim, random);
    for (const int64_t u : c.infinite)
      cache_.v[static_cast<size_t>(u * c.head_dim + 3)] = std::numeric_limits<float>::infinity();
    cache_.page_there.assign(static_cast<size_t>(pages), true);
    for (const int64_t page : c.missing) {
      cache_.page_there[static_cast<size_t>(page)] = false;
      page_ids_[static_cast<size_t>(page)] = -1;
    }
    q_stride_ = c.group * c.head_dim + 5;
    q_ = random_floats(static_cast<int64_t>(c.positions.size()) * q_stride_, random, 2.0f);
    sinks_ = random_floats(c.group, random);
  }

  void write_pages(const Kernels& table) {
    const AttentionCase& c = *case_;
    page_bytes_ = kv_page_bytes(c.type, c.head_dim);
    const int64_t blocks = static_cast<int64_t>(page_ids_.size()) * 8 + 1;
    memory_ = std::make_shared<AlignedMemory>(blocks * page_bytes_);
    for (int64_t u = 0; u < c.length; ++u) {
      const int32_t id = page_ids_[static_cast<size_t>(u / 16)];
      if (id < 0) continue;
      table.kv_write[static_cast<int>(c.type)].run(cache_.k.data() + u * c.head_dim,
                                                   cache_.v.data() + u * c.head_dim, c.head_dim,
                                                   u % 16, memory_->get() + id * page_bytes_);
    }
  }

  AttentionArgs arguments(std::byte* workspace) const {
    const AttentionCase& c = *case_;
    AttentionArgs args{};
    args.q = q_.data();
    args.q_stride = q_stride_;
    args.rows = static_cast<int64_t>(c.positions.size());
    args.positions = c.positions.data();
    args.group = c.group;
    args.head_dim = c.head_dim;
    args.pages = memory_->get();
    args.page_stride = page_bytes_;
    args.page_ids = page_ids_.data();
    args.length = c.length;
    args.causal = c.causal;
    args.window = c.window;
    args.scale = 0.125f;
    args.softcap = c.softcap;
    args.sinks = c.sinks ? sinks_.data() : nullptr;
    args.workspace = workspace;
    return args;
  }

  // [rows][group][head_dim]
  std::vector<float> expected() const {
    const AttentionCase& c = *case_;
    reference::Cache cache = cache_;
    if (c.type == KvType::bf16) {
      for (float& x : cache.k) x = reference::bf16(x);
      for (float& x : cache.v) x = reference::bf16(x);
    }
    if (c.type == KvType::int8) cache.quantise();
    std::vector<float> y;
    for (size_t row = 0; row < c.positions.size(); ++row) {
      for (int64_t head = 0; head < c.group; ++head) {
        const float* q = q_.data() + static_cast<int64_t>(row) * q_stride_ + head * c.head_dim;
        reference::AttentionQuery query;
        query.position = c.positions[row];
        query.causal = c.causal;
        query.window = c.window;
        query.scale = 0.125f;
        query.softcap = c.softcap;
        query.sink = c.sinks ? &sinks_[static_cast<size_t>(head)] : nullptr;
        query.round = c.type != KvType::f32;
        const std::vector<float> o =
            reference::attention(std::vector<float>(q, q + c.head_dim), cache, query);
        y.insert(y.end(), o.begin(), o.end());
      }
    }
    return y;
  }

  // A value that is not finite makes all of its head NaN in int8, whose bits no instruction set promises.
  std::vector<float> comparable(std::vector<float> y) const {
    for (float& x : y) {
      if (case_->type == KvType::int8 && std::isnan(x)) x = std::numeric_limits<float>::quiet_NaN();
    }
    return y;
  }

  const AttentionCase* case_ = nullptr;
  reference::Cache cache_;
  std::vector<int32_t> page_ids_;
  std::vector<float> q_;
  std::vector<float> sinks_;
  int64_t q_stride_ = 0;
  int64_t page_bytes_ = 0;
  std::shared_ptr<AlignedMemory> memory_;
};

inline std::string attention_case_name(const testing::TestParamInfo<int>& info) {
  return attention_cases()[static_cast<size_t>(info.param)].name;
}

}  // namespace dunlin
