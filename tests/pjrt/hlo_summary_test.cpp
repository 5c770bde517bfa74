// Optimised programs as bytes: what is read of them, and that nothing else is taken for one.
#include "backend/pjrt/client/hlo_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

void append_varint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  bytes += static_cast<char>(value);
}

std::string field(uint64_t number, const std::string& content) {
  std::string bytes;
  append_varint(bytes, number << 3 | 2);
  append_varint(bytes, content.size());
  return bytes + content;
}

std::string number_field(uint64_t number, uint64_t value) {
  std::string bytes;
  append_varint(bytes, number << 3);
  append_varint(bytes, value);
  return bytes;
}

std::string packed_field(uint64_t number, std::initializer_list<uint64_t> values) {
  std::string bytes;
  for (const uint64_t value : values) append_varint(bytes, value);
  return field(number, bytes);
}

std::string operation(const std::string& name, const std::string& backend_config) {
  return field(2, field(1, name) + field(2, "fusion") + field(43, backend_config));
}

// HloModuleProtoWithConfig with one computation.
std::string module_of(const std::string& operations) {
  return field(1, field(3, field(1, "main") + operations));
}

TEST(HloSummary, ReadsTheCyclesThatTheCompilerEstimated) {
  const auto operations = read_hlo(module_of(
      operation("a", R"({"flag_configs":[],"estimated_cycles":"1234","x":{}})") +
      operation("b", "no JSON") + operation("c", R"({"estimated_cycles":"many"})") +
      operation("d", R"({"estimated_cycles":")") + operation("e", R"({"estimated_cycles":"5")")));
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  ASSERT_EQ(operations->size(), 5u);
  EXPECT_EQ((*operations)[0].name, "a");
  EXPECT_EQ((*operations)[0].opcode, "fusion");
  EXPECT_EQ((*operations)[0].computation, "main");
  EXPECT_EQ((*operations)[0].estimated_cycles, 1234);
  for (const size_t i : {1u, 2u, 3u}) EXPECT_EQ((*operations)[i].estimated_cycles, 0) << i;
  EXPECT_EQ((*operations)[4].estimated_cycles, 5);
}

// bf16, of two dimensions whose first one is minor; and without a layout.
TEST(HloSummary, ReadsHowAnArrayLies) {
  const std::string shape = number_field(2, 16) + packed_field(3, {2, 300});
  const std::string laid = shape + field(5, packed_field(1, {0, 1}));
  const auto operations =
      read_hlo(module_of(field(2, field(1, "a") + field(2, "parameter") + field(3, laid)) +
                         field(2, field(1, "b") + field(2, "parameter") + field(3, shape))));
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  ASSERT_EQ(operations->size(), 2u);
  for (const HloOperation& it : *operations) {
    EXPECT_EQ(it.shape, "bf16[2,300]");
    EXPECT_EQ(it.elements, 600);
  }
  EXPECT_THAT(operations->front().layout, ElementsAre(0, 1));
  EXPECT_THAT(operations->back().layout, IsEmpty());
}

TEST(HloSummary, ReadsWhoCallsWhomAndHowOften) {
  const auto loop = [](const std::string& name, const std::string& backend_config) {
    return field(2, field(1, name) + field(2, "while") + packed_field(38, {7, 300}) +
                        field(43, backend_config));
  };
  const std::string entry = field(1, "main") +
                            loop("known", R"({"known_trip_count":{"n":"32"},"flag_configs":[]})") +
                            loop("unknown", "{}") + number_field(5, 12);
  const std::string body = field(1, "body") + operation("a", "") + number_field(5, 300);
  const auto operations = read_hlo(field(1, field(3, entry) + field(3, body)));
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  ASSERT_EQ(operations->size(), 3u);
  const HloOperation& known = (*operations)[0];
  EXPECT_EQ(known.computation, "main");
  EXPECT_EQ(known.computation_id, 12);
  EXPECT_THAT(known.calls, ElementsAre(7, 300));
  EXPECT_EQ(known.turns, 32);
  EXPECT_EQ((*operations)[1].turns, 0);
  EXPECT_EQ((*operations)[2].computation, "body");
  EXPECT_EQ((*operations)[2].computation_id, 300);
  EXPECT_THAT((*operations)[2].calls, IsEmpty());
}

TEST(HloSummary, BytesThatEndEarlyAreAnError) {
  const std::string module = module_of(operation("a", "{}"));
  for (size_t size = 0; size < module.size(); ++size) {
    EXPECT_FALSE(read_hlo(std::string_view(module).substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace dunlin::pjrt
