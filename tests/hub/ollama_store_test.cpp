// A store as ollama writes it: `ollama pull` of one model, and stores that were changed.
#include "hub/ollama_store.h"

#include "hub/find_model.h"
#include "hub_fixture.h"
#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class OllamaTest : public testing::Test {
 protected:
  void SetUp() override {
    environment_.set("OLLAMA_MODELS", folder_.path());
    put(blob_, "GGUF");
    write("registry.ollama.ai/library/tiny/latest",
          {"model", "template", "system", "params", "license"});
  }
  void write(const std::string& name, const std::vector<std::string>& layers) const {
    std::vector<std::string> texts;
    for (const std::string& layer : layers) {
      texts.push_back(fmt::format(R"({{"mediaType": "application/vnd.ollama.image.{}",
        "digest": "sha256:{}", "size": 4}})",
                                  layer, digest_));
    }
    put(folder_.file("manifests/" + name),
        fmt::format(R"({{"schemaVersion": 2, "config": {{}}, "layers": [{}]}})",
                    fmt::join(texts, ", ")));
  }
  std::string error_of(const std::string& name) const {
    const auto model = OllamaStore(folder_.path()).open(name);
    if (model.ok()) return "none";
    EXPECT_EQ(model.error().kind, ErrorKind::model);
    return model.error().message;
  }

  const std::string digest_ = std::string(64, 'a');
  TemporaryFolder folder_;
  const std::string blob_ = folder_.file("blobs/sha256-" + digest_);
  SavedEnvironment environment_;
};

TEST_F(OllamaTest, TheWeightsAreReadInPlace) {
  write("registry.ollama.ai/someone/tiny/1b", {"model"});
  write("hf.co/org/tiny-GGUF/Q4_K_M", {"model"});
  const OllamaStore store(folder_.path());
  const auto model = store.open("tiny");
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->gguf, blob_);
  EXPECT_THAT(model->unused, ElementsAre("template", "system", "params"));
  for (const char* name : {"tiny:latest", "library/tiny", "registry.ollama.ai/library/tiny:latest",
                           "someone/tiny:1b", "hf.co/org/tiny-GGUF:Q4_K_M"}) {
    EXPECT_TRUE(store.has(name)) << name;
    EXPECT_TRUE(store.open(name).ok()) << name;
  }
  for (const char* name : {"tiny:1b", "someone/tiny", "other", "", ":", "a/b/c/d", "../tiny",
                           "tiny:../latest", "..:latest", "tiny:a/b"})
    EXPECT_FALSE(store.has(name)) << name;
}

TEST_F(OllamaTest, StoresThatMakeNoSenseAreErrors) {
  EXPECT_THAT(error_of("none"), HasSubstr("not in ollama's store " + folder_.path()));
  const std::string manifest = folder_.file("manifests/registry.ollama.ai/library/bad/latest");
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"", "not valid JSON"},
           {"{}", "layers is not an array"},
           {R"({"layers": [3]})", "a layer without a digest"},
           {R"({"layers": [{"mediaType": "x", "digest": "sha256:../../../etc/passwd"}]})",
            "a layer without a digest"},
           {R"({"layers": []})", "no layer with weights"}}) {
    put(manifest, text);
    EXPECT_THAT(error_of("bad"), HasSubstr(message));
    EXPECT_THAT(error_of("bad"), HasSubstr(manifest));
  }
  write("registry.ollama.ai/library/bad/latest", {"model", "adapter"});
  EXPECT_THAT(error_of("bad"), HasSubstr("has an adapter, which is not supported"));
  write("registry.ollama.ai/library/bad/latest", {"model", "model"});
  EXPECT_THAT(error_of("bad"), HasSubstr("more than one layer with weights"));
  fs::remove_all(folder_.file("blobs"));
  EXPECT_THAT(error_of("tiny"), HasSubstr("blobs/sha256-aaaa"));
}

TEST_F(OllamaTest, NamesAreFoundWhereTheyAreNoPaths) {
  const auto found = find_model("ollama:tiny");
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found->path, blob_);
  EXPECT_THAT(found->note, HasSubstr("template, system, params of tiny are not used"));
  EXPECT_EQ(find_model("tiny")->path, found->path);
  EXPECT_EQ(find_model("other")->path, "other");
  EXPECT_THAT(find_model("ollama:other").error().message, HasSubstr("not in ollama's store"));
  EXPECT_EQ(find_model(folder_.path())->path, folder_.path());
  environment_.set("OLLAMA_MODELS", folder_.file("none"));
  EXPECT_EQ(find_model("tiny")->path, "tiny");
}

class FindModelTest : public HubTest {
 protected:
  void SetUp() override {
    HubTest::SetUp();
    environment_.set("HF_HUB_CACHE", cache_);
  }
};

TEST_F(FindModelTest, AModelThatWasPulledHasItsName) {
  for (const char* name : {"org/tiny", "hf:org/tiny", "org/tiny:Q8_0"}) {
    const auto none = find_model(name);
    ASSERT_FALSE(none.ok()) << name;
    EXPECT_EQ(none.error().kind, ErrorKind::model);
    EXPECT_THAT(none.error().message, HasSubstr("`dunlin pull org/tiny"));
  }
  hub_.add("m-Q8_0.gguf", "GGUF", true);
  const auto folder = pull(request());
  const auto file = pull(request("org/tiny:Q8_0"));
  ASSERT_TRUE(folder.ok() && file.ok());
  EXPECT_EQ(find_model("org/tiny")->path, *folder);
  EXPECT_EQ(find_model("hf:org/tiny")->path, *folder);
  EXPECT_EQ(find_model("org/tiny:q8_0")->path, *file);
  EXPECT_EQ(find_model("org/tiny/m-Q8_0.gguf")->path, *file);
  EXPECT_EQ(hub_.hub_requests().size(), 2u + 4u);  // two lists, four files: no more since
  // Names of files stay what they are, for the error that they deserve.
  for (const char* path : {"folder/model.gguf", "folder/config.json", "model", "/a/b", "./a/b", ""})
    EXPECT_EQ(find_model(path)->path, path);
}

}  // namespace
}  // namespace dunlin
