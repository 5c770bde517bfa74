// The C API: statuses, texts, old and new structs. Requests are c_api_request_test.cpp, the header as
// C is abi_test.c and examples/stream.c.
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <thread>

#include "c_api_driver.h"
#include "library_models.h"
#include "support/temporary_folder.h"

namespace {

TEST(CApiVersion, IsTold) {
  EXPECT_EQ(dunlin_abi_version(), static_cast<uint32_t>(DUNLIN_ABI_VERSION));
  EXPECT_EQ(std::count(dunlin_version(), dunlin_version() + std::strlen(dunlin_version()), '.'), 2);
}

TEST(CApiLoad, ErrorsHaveAStatusAndAText) {
  dunlin_engine* engine = reinterpret_cast<dunlin_engine*>(1);
  EXPECT_EQ(dunlin_engine_load("/no/such/model", nullptr, &engine), DUNLIN_ERROR_MODEL);
  EXPECT_EQ(engine, nullptr);
  EXPECT_NE(std::string(dunlin_last_error()).find("/no/such/model"), std::string::npos);
  EXPECT_EQ(dunlin_engine_load(nullptr, nullptr, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_engine_load("model", nullptr, nullptr), DUNLIN_ERROR_USAGE);
  dunlin_load_options options = one_thread();
  options.precision = 77;
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_NE(std::string(dunlin_last_error()).find("77"), std::string::npos);
  options = one_thread();
  options.backend = "abacus";
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_NE(std::string(dunlin_last_error()).find("abacus"), std::string::npos);
  options = one_thread();
  options.device = "gpu";
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_NE(std::string(dunlin_last_error()).find("gpu"), std::string::npos);
  options = one_thread();
  options.isolate = "/no/such/dunlin";
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  // Longer than the buffer of the text: cut, not lost.
  const std::string path = "/" + std::string(10000, 'x');
  EXPECT_NE(dunlin_engine_load(path.c_str(), nullptr, &engine), DUNLIN_OK);
  EXPECT_GT(std::strlen(dunlin_last_error()), 1000u);
}

TEST(CApiLoad, TheTextOfAnErrorBelongsToItsThread) {
  dunlin_engine* engine = nullptr;
  EXPECT_EQ(dunlin_engine_load("/no/such/model", nullptr, &engine), DUNLIN_ERROR_MODEL);
  std::thread([] { EXPECT_STREQ(dunlin_last_error(), ""); }).join();
  EXPECT_STRNE(dunlin_last_error(), "");
}

TEST(CApiLoad, StructsOfOtherHeaders) {
  dunlin_load_options options = one_thread();
  options.struct_size = offsetof(dunlin_load_options, context);  // an older header
  options.context = 17;                                          // which it does not have
  dunlin_model_info info = {};
  info.struct_size = sizeof info;
  EXPECT_EQ(dunlin_get_model_info(load(ids_model(), options).get(), &info), DUNLIN_OK);
  EXPECT_EQ(info.context, 512);

  struct {
    dunlin_load_options known;
    int64_t unknown;
  } newer = {one_thread(), 0};
  newer.known.struct_size = sizeof newer;
  newer.known.context = 64;
  info.struct_size = offsetof(dunlin_model_info, parameters);
  info.parameters = -5;
  EXPECT_EQ(dunlin_get_model_info(load(ids_model(), newer.known).get(), &info), DUNLIN_OK);
  EXPECT_EQ(info.context, 64);
  EXPECT_EQ(info.parameters, -5);
  newer.unknown = 1;
  dunlin_engine* engine = nullptr;
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &newer.known, &engine), DUNLIN_ERROR_USAGE);
  newer.known.struct_size = 0;
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &newer.known, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_NE(std::string(dunlin_last_error()).find("struct_size"), std::string::npos);
}

TEST(CApiLoad, KeysAndValuesAreKeptAsTheOptionsSay) {
  const auto kv_bytes = [](const dunlin_load_options& options) {
    dunlin_model_info info = {};
    info.struct_size = sizeof info;
    EXPECT_EQ(dunlin_get_model_info(load(ids_model(), options).get(), &info), DUNLIN_OK);
    return info.kv_bytes;
  };
  dunlin_load_options options = one_thread();
  const uint64_t usual = kv_bytes(options);
  options.kv_type = DUNLIN_KV_BF16;
  EXPECT_EQ(kv_bytes(options), usual);
  options.kv_type = DUNLIN_KV_INT8;
  EXPECT_LT(kv_bytes(options), usual);
  // A header from before there was a choice, with something behind its struct.
  options.struct_size = offsetof(dunlin_load_options, kv_type);
  EXPECT_EQ(kv_bytes(options), usual);

  dunlin_engine* engine = nullptr;
  options = one_thread();
  options.kv_type = 9;
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_STREQ(dunlin_last_error(), "kv_type 9 is unknown");
  options.kv_type = DUNLIN_KV_F32;  // beside a profile in bf16
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  options.precision = DUNLIN_PRECISION_F32;
  EXPECT_GT(kv_bytes(options), usual);
}

TEST(CApiLoad, APackCacheThatIsOfNoUseIsAWarning) {
  const dunlin::TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  dunlin_load_options options = one_thread();
  options.pack_cache = folder.path().c_str();
  testing::internal::CaptureStderr();
  EXPECT_TRUE(load(ids_model(), options) != nullptr);
  const std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_NE(printed.find("warning: packed weights are not kept: " + folder.path()),
            std::string::npos)
      << printed;
}

TEST(CApiLoad, OffloadMapsWhatThePackCacheKeeps) {
  const dunlin::TemporaryFolder folder;
  const std::string packed = folder.file("packed");
  dunlin_load_options options = one_thread();
  options.offload = 1;
  dunlin_engine* engine = nullptr;
  EXPECT_EQ(dunlin_engine_load(ids_model().c_str(), &options, &engine), DUNLIN_ERROR_USAGE);
  EXPECT_NE(std::string(dunlin_last_error()).find("cannot be mapped"), std::string::npos);
  options.pack_cache = packed.c_str();
  EXPECT_TRUE(load(ids_model(), options) != nullptr);
  EXPECT_FALSE(std::filesystem::is_empty(packed));  // though it is small
  // A header from before it knows neither.
  options.struct_size = offsetof(dunlin_load_options, offload);
  std::filesystem::remove_all(packed);
  EXPECT_TRUE(load(ids_model(), options) != nullptr);
  EXPECT_FALSE(std::filesystem::exists(packed));  // too small to be kept
}

TEST(CApiText, GoesThroughTheCallersBuffers) {
  const EnginePtr engine = load(text_model());
  const char* text = "Hello there";
  size_t count = 0;
  EXPECT_EQ(dunlin_encode(engine.get(), text, std::strlen(text), nullptr, &count),
            DUNLIN_ERROR_BUFFER);
  ASSERT_GT(count, 0u);
  EXPECT_EQ(dunlin_encode(engine.get(), text, std::strlen(text), nullptr, &count),
            DUNLIN_ERROR_USAGE);  // NULL with a capacity
  Ids ids(count + 3, -7);
  count = ids.size();
  ASSERT_EQ(dunlin_encode(engine.get(), text, std::strlen(text), ids.data(), &count), DUNLIN_OK);
  EXPECT_EQ(count, ids.size() - 3);
  EXPECT_EQ(ids[count], -7);
  std::string decoded(100, '\0');
  size_t size = decoded.size();
  ASSERT_EQ(dunlin_decode(engine.get(), ids.data(), count, decoded.data(), &size), DUNLIN_OK);
  EXPECT_EQ(decoded.substr(0, size), text);
  size = 3;
  EXPECT_EQ(dunlin_decode(engine.get(), ids.data(), count, decoded.data(), &size),
            DUNLIN_ERROR_BUFFER);
  EXPECT_EQ(size, std::strlen(text));
  const dunlin_message messages[] = {{"system", "Be brief."}, {"user", text}};
  count = ids.size();
  EXPECT_EQ(dunlin_encode_chat(engine.get(), messages, 2, ids.data(), &count), DUNLIN_ERROR_BUFFER);
  ids.resize(count);
  EXPECT_EQ(dunlin_encode_chat(engine.get(), messages, 2, ids.data(), &count), DUNLIN_OK);
  const dunlin_message bad = {"user", nullptr};
  EXPECT_EQ(dunlin_encode_chat(engine.get(), &bad, 1, ids.data(), &count), DUNLIN_ERROR_USAGE);
  const int32_t outside = 1 << 20;
  EXPECT_EQ(dunlin_decode(engine.get(), &outside, 1, decoded.data(), &size), DUNLIN_ERROR_USAGE);
}

TEST(CApiText, StreamsPiecesThatJoin) {
  const EnginePtr engine = load(text_model());
  Ids prompt(200);
  size_t count = prompt.size();
  const dunlin_message message = {"user", "Hello there"};
  ASSERT_EQ(dunlin_encode_chat(engine.get(), &message, 1, prompt.data(), &count), DUNLIN_OK);
  prompt.resize(count);
  Collected collected;
  dunlin_sampling sampling = {};
  sampling.struct_size = sizeof sampling;
  ASSERT_EQ(dunlin_sampling_default(engine.get(), &sampling), DUNLIN_OK);
  EXPECT_EQ(sampling.top_k, 40);
  sampling.seed = 3;
  const dunlin_request request = request_of(prompt, sampling, 30, collected);
  ASSERT_EQ(dunlin_generate(engine.get(), &request), DUNLIN_OK) << dunlin_last_error();
  std::string decoded(1000, '\0');
  size_t size = decoded.size();
  ASSERT_EQ(dunlin_decode(engine.get(), collected.ids.data(), collected.ids.size(), decoded.data(),
                          &size),
            DUNLIN_OK);
  EXPECT_EQ(collected.text, decoded.substr(0, size));
  // A stop string from the middle.
  const std::string stop_text = collected.text.substr(collected.text.size() / 2, 3);
  const char* stop = stop_text.c_str();
  Collected stopped;
  dunlin_request with_stop = request_of(prompt, sampling, 30, stopped);
  with_stop.stop = &stop;
  with_stop.stop_count = 1;
  ASSERT_EQ(dunlin_generate(engine.get(), &with_stop), DUNLIN_OK);
  EXPECT_EQ(stopped.text, collected.text.substr(0, collected.text.find(stop_text)));
  EXPECT_EQ(stopped.last.finish_reason, DUNLIN_FINISH_STOP);
}

}  // namespace
