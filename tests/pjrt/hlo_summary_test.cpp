// Optimised programs as bytes: what is read of them, and that nothing else is taken for one.
#include "backend/pjrt/client/hlo_summary.h"

#include <gtest/gtest.h>

#include <string>

namespace dunlin::pjrt {
namespace {

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

TEST(HloSummary, BytesThatEndEarlyAreAnError) {
  const std::string module = module_of(operation("a", "{}"));
  for (size_t size = 0; size < module.size(); ++size) {
    EXPECT_FALSE(read_hlo(std::string_view(module).substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace dunlin::pjrt
