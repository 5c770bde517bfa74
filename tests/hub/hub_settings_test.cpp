// The variables of huggingface_hub, each case with none but its own.
#include "hub/hub_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>

#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

constexpr const char* kNames[] = {"HF_ENDPOINT",
                                  "HF_TOKEN",
                                  "HUGGING_FACE_HUB_TOKEN",
                                  "HF_TOKEN_PATH",
                                  "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                  "HF_HOME",
                                  "HF_HUB_CACHE",
                                  "HUGGINGFACE_HUB_CACHE",
                                  "XDG_CACHE_HOME",
                                  "HOME",
                                  "HF_HUB_OFFLINE",
                                  "TRANSFORMERS_OFFLINE",
                                  "HF_HUB_DOWNLOAD_TIMEOUT",
                                  "DUNLIN_TEST_PLACE"};

class HubSettingsTest : public testing::Test {
 protected:
  Result<HubSettings> with(const std::map<std::string, std::string>& variables) {
    for (const char* name : kNames) environment_.unset(name);
    for (const auto& [name, value] : variables) environment_.set(name, value);
    return hub_settings();
  }
  std::string cache(const std::map<std::string, std::string>& variables) {
    const auto settings = with(variables);
    return settings.ok() ? settings->cache : settings.error().message;
  }

  SavedEnvironment environment_;
  TemporaryFolder folder_;
};

TEST_F(HubSettingsTest, TheCacheIsWhereHuggingfaceHubHasIt) {
  EXPECT_EQ(cache({{"HOME", "/h"}}), "/h/.cache/huggingface/hub");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}}), "/x/huggingface/hub");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/f"}}), "/f/hub");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"HF_HOME", "~/f"}}), "/h/f/hub");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"HF_HOME", "/f"}, {"HUGGINGFACE_HUB_CACHE", "/o"}}), "/o");
  EXPECT_EQ(cache({{"HF_HUB_CACHE", "/c"}, {"HUGGINGFACE_HUB_CACHE", "/o"}}), "/c");
  EXPECT_EQ(cache({{"HOME", "/h"}, {"HF_HUB_CACHE", ""}}), "/h/.cache/huggingface/hub");
  EXPECT_EQ(cache({{"HF_HUB_CACHE", "$DUNLIN_TEST_PLACE/a${DUNLIN_TEST_PLACE}b$NONE$"},
                   {"DUNLIN_TEST_PLACE", "/p"}}),
            "/p/a/pb$NONE$");
  EXPECT_THAT(cache({}), HasSubstr("neither HF_HOME nor HOME"));
}

TEST_F(HubSettingsTest, TheTokenComesFromTheVariableThenTheFile) {
  std::ofstream(folder_.file("token")) << "hf_file\n";
  EXPECT_EQ(with({{"HF_HOME", folder_.path()}})->token, "hf_file");
  EXPECT_EQ(with({{"HF_HOME", folder_.path()}, {"HF_TOKEN", " hf_variable\n"}})->token,
            "hf_variable");
  EXPECT_EQ(with({{"HF_HOME", folder_.path()}, {"HUGGING_FACE_HUB_TOKEN", "hf_old"}})->token,
            "hf_old");
  EXPECT_EQ(with({{"HF_HOME", folder_.path()}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}})->token, "");
  EXPECT_EQ(with({{"HF_HOME", folder_.file("none")}})->token, "");
  EXPECT_EQ(with({{"HF_HOME", "/none"}, {"HF_TOKEN_PATH", folder_.file("token")}})->token,
            "hf_file");
  // Not a header more, and never shown.
  const auto forged = with({{"HOME", "/h"}, {"HF_TOKEN", "hf_x\r\nHost: evil"}});
  ASSERT_FALSE(forged.ok());
  EXPECT_THAT(forged.error().message, HasSubstr("HF_TOKEN: a token has only"));
  EXPECT_EQ(forged.error().message.find("hf_x"), std::string::npos);
}

TEST_F(HubSettingsTest, TheEndpointIsAnAddress) {
  const auto endpoint = [this](const std::string& value) {
    const auto settings = with({{"HOME", "/h"}, {"HF_ENDPOINT", value}});
    return settings.ok() ? settings->endpoint : "error: " + settings.error().message;
  };
  EXPECT_EQ(endpoint(""), "https://huggingface.co");
  EXPECT_EQ(endpoint("http://127.0.0.1:8080//"), "http://127.0.0.1:8080");
  EXPECT_EQ(endpoint("https://mirror.example/hub"), "https://mirror.example/hub");
  for (const char* wrong : {"mirror.example", "ftp://mirror.example", "file:///etc",
                            "https://user:secret@mirror.example", "https://a b", "https://"}) {
    EXPECT_THAT(endpoint(wrong), HasSubstr("error: HF_ENDPOINT")) << wrong;
    EXPECT_EQ(endpoint(wrong).find("secret"), std::string::npos);
  }
}

TEST_F(HubSettingsTest, OfflineAndTimeout) {
  EXPECT_FALSE(with({{"HOME", "/h"}})->offline);
  EXPECT_FALSE(with({{"HOME", "/h"}, {"HF_HUB_OFFLINE", "0"}})->offline);
  EXPECT_TRUE(with({{"HOME", "/h"}, {"HF_HUB_OFFLINE", "1"}})->offline);
  EXPECT_TRUE(with({{"HOME", "/h"}, {"TRANSFORMERS_OFFLINE", "true"}})->offline);
  EXPECT_EQ(with({{"HOME", "/h"}, {"HF_HUB_DOWNLOAD_TIMEOUT", "7"}})->stall_timeout,
            std::chrono::seconds(7));
  for (const char* wrong : {"0", "-1", "7s", "99999999999"})
    EXPECT_FALSE(with({{"HOME", "/h"}, {"HF_HUB_DOWNLOAD_TIMEOUT", wrong}}).ok()) << wrong;
}

}  // namespace
}  // namespace dunlin
