// Addresses: who gets a token, and how names get into a path.
#include "hub/url.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

TEST(Url, OriginIsSchemeHostAndPort) {
  EXPECT_EQ(url_origin("https://Hub.example/a?b"), "https://hub.example:443");
  EXPECT_EQ(url_origin("http://hub.example:80/"), "http://hub.example:80");
  EXPECT_EQ(url_origin("https://hub.example:8443"), "https://hub.example:8443");
  EXPECT_EQ(url_origin("nothing"), "");
}

TEST(Url, EncodingKeepsUnreservedCharactersAlone) {
  EXPECT_EQ(url_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(url_encoded("a b/c-d_e.f~?#%\xc3\xa4", true), "a%20b/c-d_e.f~%3F%23%25%C3%A4");
}

}  // namespace
}  // namespace dunlin
