// The client against a plug-in: errors as text, arrays there and back, donation in place.
#include "backend/pjrt/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <span>
#include <thread>

#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/client/plugin.h"
#include "backend/pjrt/compiler.h"
#include "backend/pjrt/open_device.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "pjrt_device.h"
#include "support/temporary_folder.h"

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;

template <typename T>
Buffer upload(const Client& client, const TensorType& type, const std::vector<T>& values,
              int64_t device = 0) {
  auto buffer = client.upload(type, std::as_bytes(std::span(values)), device);
  EXPECT_TRUE(buffer.ok()) << buffer.error().message;
  return std::move(buffer).value();
}

std::vector<float> download(const Buffer& buffer, const TensorType& type) {
  std::vector<float> values(static_cast<size_t>(element_count(type.dims)));
  const auto copied = buffer.download(type, std::as_writable_bytes(std::span(values)));
  EXPECT_TRUE(copied.ok()) << copied.error().message;
  return values;
}

struct AlignedFloats {
  AlignedFloats() { std::iota(std::begin(values), std::end(values), 1.0f); }
  alignas(64) float values[32];
};

TEST(OpenDevice, AMeshOfMoreVirtualDevicesThanAnyoneMakesIsRefused) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto device = open_device({.device = "cpu-xla", .mesh = {.data = 65536}});
  ASSERT_FALSE(device.ok());
  EXPECT_EQ(device.error().kind, ErrorKind::device);
  EXPECT_EQ(device.error().message, "--mesh data=65536: 65536 devices, but cpu-xla has 256");
}

// Threads of virtual devices may wait for long on a loaded machine; XLA's own limit ends the process.
TEST(ExchangeOptions, GiveVirtualDevicesTime) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto client = test_client(4);
  EXPECT_TRUE(exchange_options(*client, 1).empty());
  const auto options = exchange_options(*client, 4);
  ASSERT_EQ(options.size(), 1u);
  EXPECT_EQ(options.front().first, "xla_cpu_collective_call_terminate_timeout_seconds");
  EXPECT_EQ(options.front().second, OptionValue(int64_t{1200}));
}

TEST(Plugin, WhatIsNoPluginIsAnErrorThatNamesIt) {
  const auto missing = Plugin::load("/no/such/plugin.so");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::device);
  EXPECT_THAT(missing.error().message, HasSubstr("/no/such/plugin.so"));

  const TemporaryFolder folder;
  std::ofstream(folder.file("text.so")) << "no library";
  EXPECT_FALSE(Plugin::load(folder.file("text.so")).ok());

  const auto library = Plugin::load("libm.so.6");
  ASSERT_FALSE(library.ok());
  EXPECT_THAT(library.error().message, HasSubstr("GetPjrtApi"));
}

TEST(Client, HasTheDevicesThatWereAskedFor) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto client = test_client(4);
  EXPECT_EQ(client->platform(), "cpu");
  EXPECT_EQ(client->devices(), 4);
  EXPECT_THAT(client->device_ids(), testing::ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(client->device_names().size(), 4u);
}

TEST(Client, ArraysComeBackAsTheyWent) {
  DUNLIN_NEEDS_PLUGIN();
  const auto client = test_client(2);
  const TensorType type{Element::f32, {2, 3}};
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  for (int64_t device = 0; device < client->devices(); ++device) {
    EXPECT_EQ(download(upload(*client, type, values, device), type), values);
  }
}

// A byte of the host for each, with its sign; half a byte there.
TEST(Client, NumbersOfFourBitsArriveWithTheirSign) {
  DUNLIN_NEEDS_PLUGIN();
  const auto client = test_client();
  for (const Element element : {Element::i4, Element::u4}) {
    const TensorType type{element, {3, 5}};
    EXPECT_EQ(type.bytes(), 15);
    EXPECT_EQ(type.device_bytes(), 8);
    const int lowest = element == Element::i4 ? -8 : 0;
    std::vector<int8_t> codes;
    std::vector<float> expected;
    for (int i = 0; i < 15; ++i) {
      codes.push_back(static_cast<int8_t>(lowest + i));
      expected.push_back(static_cast<float>(lowest + i));
    }
    Builder b;
    const std::string text = b.finish({b.convert(b.argument(type), Element::f32)});
    const auto program = client->compile(text, {});
    ASSERT_TRUE(program.ok()) << program.error().message;
    const Buffer argument = upload(*client, type, codes);
    const auto results = (*program)->execute({{argument.id()}});
    ASSERT_TRUE(results.ok()) << results.error().message;
    EXPECT_EQ(download((*results)[0][0], {Element::f32, {3, 5}}), expected);
  }
}

// As PluginCalls::share() has it, until the array is gone. What is not aligned is copied.
TEST(Client, ArraysOfTheHostAreSharedWithTheCpu) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto client = test_client();
  const TensorType type{Element::f32, {16}};
  for (const size_t skipped : {size_t{0}, size_t{1}}) {
    const auto memory = std::make_shared<AlignedFloats>();
    const std::span<const float> floats = std::span(memory->values).subspan(skipped, 16);
    auto shared = client->share(type, {.bytes = std::as_bytes(floats), .owner = memory}, 0);
    ASSERT_TRUE(shared.ok()) << shared.error().message;
    EXPECT_EQ(download(*shared, type), std::vector<float>(floats.begin(), floats.end()));
    const bool in_place = shared->address().value() == reinterpret_cast<uintptr_t>(floats.data());
    EXPECT_EQ(in_place, skipped == 0);
    if (in_place) {
      EXPECT_GT(memory.use_count(), 1);
    }
    {
      const Buffer gone = std::move(shared).value();
    }
    // Threads of XLA may still be at it.
    for (int i = 0; i < 1000 && memory.use_count() > 1; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(memory.use_count(), 1);
  }
}

// What callers take from the results is there.
TEST(Client, FewerResultsThanAreNeededAreAnError) {
  DUNLIN_NEEDS_PLUGIN();
  const auto client = test_client();
  const TensorType type{Element::f32, {2}};
  Builder b;
  const Var x = b.argument(type);
  const auto program = client->compile(b.finish({b.add(x, x), x}), {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const Buffer argument = upload(*client, type, std::vector<float>{1, 2});
  EXPECT_TRUE((*program)->execute({{argument.id()}}, 2).ok());
  const auto results = (*program)->execute({{argument.id()}}, 3);
  ASSERT_FALSE(results.ok());
  EXPECT_EQ(results.error().kind, ErrorKind::device);
  EXPECT_THAT(results.error().message,
              HasSubstr("execute: 2 results on 1 devices, but the program has 3 on 1"));
}

TEST(Client, AProgramThatDoesNotParseIsAnErrorWithThePluginsText) {
  DUNLIN_NEEDS_PLUGIN();
  const auto compiled = test_client()->compile("module { nonsense }", {});
  ASSERT_FALSE(compiled.ok());
  EXPECT_EQ(compiled.error().kind, ErrorKind::device);
  EXPECT_THAT(compiled.error().message, HasSubstr("compile"));
}

TEST(Client, ADonatedArrayIsUpdatedWhereItLies) {
  DUNLIN_NEEDS_PLUGIN();
  const auto client = test_client();
  const TensorType type{Element::f32, {1024, 1024}};
  Builder b;
  const Var array = b.argument(type, "{tf.aliasing_output = 0 : i32}");
  const Var row = b.argument({Element::i32, {}});
  const Var ones = b.constant({Element::f32, {1, 1024}}, 1.0);
  const std::string text = b.finish({b.dynamic_update_slice(array, ones, {row, b.scalar(0)})});
  const auto program = client->compile(text, {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const auto memory = (*program)->compiled().memory();
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->aliased, type.bytes());
  EXPECT_LT(memory->temporary, 4096);

  Buffer state = upload(*client, type, std::vector<float>(1024 * 1024, 0.0f));
  const uintptr_t before = *state.address();
  const Buffer where = upload(*client, {Element::i32, {}}, std::vector<int32_t>{7});
  auto results = (*program)->execute({{state.id(), where.id()}});
  ASSERT_TRUE(results.ok()) << results.error().message;
  state = std::move(results->front().front());
  EXPECT_EQ(*state.address(), before);
  const std::vector<float> values = download(state, type);
  EXPECT_EQ(values[7 * 1024], 1.0f);
  EXPECT_EQ(values[8 * 1024], 0.0f);
}

TEST(Client, AProgramIsSerialisedAndShowsWhatItBecame) {
  DUNLIN_NEEDS_PLUGIN();
  Builder b;
  const Var x = b.argument({Element::f32, {8, 8}});
  const auto program = test_client()->compile(
      b.finish({b.dot(x, x, {.contract_left = {1}, .contract_right = {0}})}), {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const auto optimised = (*program)->compiled().optimised();
  ASSERT_TRUE(optimised.ok()) << optimised.error().message;
  const auto operations = read_hlo(*optimised);
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  // A GPU's compiler may make a call of it.
  const auto is_product = [](const HloOperation& it) {
    const bool multiplies = on_cpu() ? it.opcode == "dot" : it.opcode != "parameter";
    return multiplies && it.shape == "f32[8,8]" && it.elements == 64;
  };
  EXPECT_TRUE(std::ranges::any_of(*operations, is_product));
  EXPECT_FALSE(read_hlo("no such message").ok());
  EXPECT_FALSE(read_hlo(std::string_view(*optimised).substr(0, 40)).ok());
  const auto bytes = (*program)->compiled().serialised();
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  EXPECT_GT(bytes->size(), 100u);
}

}  // namespace
}  // namespace dunlin::pjrt
