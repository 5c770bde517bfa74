// The hub's answers, true ones and others.
#include "hub/hub_api.h"

#include "hub_fixture.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

class HubApiTest : public HubTest {
 protected:
  Result<HubListing> list(const std::string& repo = StandInHub::kRepo,
                          const std::string& revision = "main") {
    auto client = HttpClient::create(http());
    const HubSettings all = settings_with_token();
    return HubApi(all, *client).list(repo, revision);
  }
  HubSettings settings_with_token() const {
    HubSettings all = settings();
    all.token = token_;
    return all;
  }
  // What list() says of a server whose every answer is this one.
  std::string error_of(const ServedReply& reply) {
    hub_.set_fault([reply](const ServedRequest&, bool) { return reply; });
    const auto listing = list();
    return listing.ok() ? std::string() : listing.error().message;
  }

  std::string token_;
};

TEST_F(HubApiTest, ListHasSizesAndChecksums) {
  const auto listing = list();
  ASSERT_TRUE(listing.ok()) << listing.error().message;
  EXPECT_EQ(listing->commit, StandInHub::kCommit);
  ASSERT_EQ(listing->files.size(), 5u);
  EXPECT_EQ(listing->files[2].name, "model.safetensors");
  EXPECT_EQ(listing->files[2].size, weights_.size());
  EXPECT_EQ(listing->files[2].etag.size(), 64u);
  EXPECT_EQ(listing->files[1].name, "config.json");
  EXPECT_EQ(listing->files[1].etag.size(), 40u);
  EXPECT_THAT(hub_.hub_requests()[0].target, "/api/models/org/tiny/revision/main?blobs=true");
  EXPECT_TRUE(list(StandInHub::kRepo, "refs/pr/1").ok());
}

TEST_F(HubApiTest, HeadTellsWhatAListLeavesOut) {
  hub_.list_checksums(false);
  const auto listing = list();
  ASSERT_TRUE(listing.ok()) << listing.error().message;
  auto client = HttpClient::create(http());
  const HubSettings all = settings();
  HubApi api(all, *client);
  for (HubFile file : listing->files) {
    EXPECT_EQ(file.etag, "");
    const auto done = api.complete(StandInHub::kRepo, StandInHub::kCommit, file);
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_TRUE(file.name != "model.safetensors" ||
                (file.size == weights_.size() && file.etag.size() == 64));
    EXPECT_TRUE(file.name != "config.json" || (file.size == 24 && file.etag.size() == 40));
  }
  EXPECT_EQ(hub_.storage_requests().size(), 0u);
  hub_.set_fault([](const ServedRequest&, bool) {
    return ServedReply{.headers = {{"ETag", "W/\"abc\""}}, .body = "x"};
  });
  HubFile file{.name = "config.json"};
  EXPECT_THAT(api.complete(StandInHub::kRepo, StandInHub::kCommit, file).error().message,
              HasSubstr("no size or no checksum (ETag \"abc\")"));
}

TEST_F(HubApiTest, RefusalsSayWhatToDo) {
  const auto refusal = [](int status, const std::string& code, const std::string& message) {
    return ServedReply{.status = status,
                       .headers = {{"X-Error-Code", code}, {"X-Error-Message", message}}};
  };
  const std::string hub = hub_.url();
  const struct {
    ServedReply reply;
    std::string without_token, with_token;
  } cases[] = {
      {refusal(401, "RepoNotFound", ""),
       "org/tiny: no such model at " + hub +
           ", or a private one: check the name; a private one needs HF_TOKEN",
       "check the name, and that the token (HF_TOKEN) may read it"},
      {refusal(404, "RepoNotFound", ""), "no such model", "no such model"},
      {{.status = 404}, "no such model", "no such model"},
      {{.status = 401}, "needs HF_TOKEN", "may read it"},
      {refusal(401, "GatedRepo", ""),
       "org/tiny: gated: accept its licence at " + hub +
           "/org/tiny, then set HF_TOKEN to a token of " + hub + "/settings/tokens",
       "with the account that the token (HF_TOKEN) belongs to"},
      {refusal(403, "GatedRepo", ""), "accept its licence", "accept its licence"},
      {refusal(404, "RevisionNotFound", ""), "org/tiny: no revision \"main\"", "no revision"},
      {refusal(401, "", "Invalid credentials in Authorization header"), "is not valid",
       "the token (HF_TOKEN) is not valid; " + hub + "/settings/tokens has the valid ones"},
      {refusal(403, "", "Not today"), "refuses access: \"Not today\"", "refuses access"},
  };
  for (const auto& [reply, without_token, with_token] : cases) {
    token_ = "";
    EXPECT_THAT(error_of(reply), HasSubstr(without_token));
    EXPECT_EQ(list().error().kind, ErrorKind::model);
    token_ = "hf_secret";
    EXPECT_THAT(error_of(reply), HasSubstr(with_token));
    EXPECT_EQ(error_of(reply).find("hf_secret"), std::string::npos);
  }
  EXPECT_THAT(error_of({.status = 400}), HasSubstr("HTTP status 400"));
  EXPECT_EQ(list().error().kind, ErrorKind::network);
}

TEST_F(HubApiTest, AnswersThatMakeNoSenseAreErrorsOfTheNetwork) {
  const std::string commit(40, 'a');
  for (const std::string& body :
       {std::string("<html>"), std::string("[]"), std::string("{}"), std::string("{\"sha\": 1}"),
        "{\"sha\": \"" + commit + "\"}", "{\"sha\": \"" + commit + "\", \"siblings\": 3}",
        std::string("{\"sha\": \"../../x\", \"siblings\": []}"), std::string(1000, '['),
        std::string("{\"a\":\"\xff\"}")}) {
    EXPECT_THAT(error_of({.body = body}), HasSubstr(hub_.url())) << body;
    EXPECT_EQ(list().error().kind, ErrorKind::network) << body;
  }
}

TEST_F(HubApiTest, EntriesThatMakeNoSenseHaveNoChecksum) {
  hub_.set_fault([](const ServedRequest&, bool) {
    return ServedReply{.body = R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [
        3, null, {"rfilename": 5}, {"rfilename": "a", "size": -1, "blobId": "x"},
        {"rfilename": "b", "size": 1e30, "blobId": "0123456789abcdef0123456789abcdef01234567"},
        {"rfilename": "c", "size": 3, "blobId": "../../../../../../../../../../../etc/x"},
        {"rfilename": "d", "size": 3, "lfs": {"size": 3, "sha256": "short"}},
        {"rfilename": "e", "size": 3, "blobId": "0123456789abcdef0123456789abcdef01234567"}]})"};
  });
  const auto listing = list();
  ASSERT_TRUE(listing.ok()) << listing.error().message;
  ASSERT_EQ(listing->files.size(), 6u);
  for (const HubFile& file : listing->files) EXPECT_EQ(file.etag.empty(), file.name != "e");
}

}  // namespace
}  // namespace dunlin
