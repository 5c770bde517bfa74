#include "hub/hub_api.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json_document.h"
#include "base/json_members.h"
#include "base/owned_json.h"
#include "base/text_checks.h"
#include "hub/checksum.h"
#include "hub/hf_cache.h"
#include "hub/url.h"

namespace dunlin {
namespace {

using nlohmann::json;

// 100,000 files, the most that the hub allows in one repository, have some 25 MB.
constexpr uint64_t kMostListingBytes = 32 << 20;

// {"rfilename", "size", "blobId", "lfs": {"size", "sha256"}}; all but the name may be missing.
std::optional<HubFile> file_of(const json& sibling) {
  if (!sibling.is_object()) return std::nullopt;
  HubFile file{.name = text_member(sibling, "rfilename")};
  const json* const lfs = member(sibling, "lfs");
  const bool large = lfs != nullptr && lfs->is_object();
  const json* const size = member(large ? *lfs : sibling, "size");
  const std::string etag = large ? text_member(*lfs, "sha256") : text_member(sibling, "blobId");
  if (size != nullptr && size->is_number_unsigned() && checksum_kind(etag)) {
    file.size = size->get<uint64_t>();
    file.etag = etag;
  }
  return file;
}

// W/"abc" and "abc" are both abc.
std::string unquoted_etag(std::string text) {
  if (text.starts_with("W/")) text.erase(0, 2);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  return text;
}

std::string first_of(const std::string& first, const std::string& second) {
  return first.empty() ? second : first;
}

}  // namespace

Result<HubListing> HubApi::list(const std::string& repo, const std::string& revision) {
  const std::string url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings_.endpoint,
                                      repo, url_encoded(revision, /*keep_slashes=*/false));
  TextBody body(kMostListingBytes);
  DUNLIN_ASSIGN_OR_RETURN(
      const HttpResponse response,
      client_.send({.url = url, .token = settings_.token, .retry_connection = false}, body));
  if (!response.ok()) return refused(repo, revision, "", url, response);
  const auto parsed = parse_json_object(body.text(), url);
  if (!parsed.ok()) return network_error(parsed.error().message);
  const json* const siblings = member(*parsed, "siblings");
  HubListing listing{.commit = text_member(*parsed, "sha")};
  if (siblings == nullptr || !siblings->is_array() || !is_commit(listing.commit))
    return network_error(url + ": not the answer of a hub: no sha, or no siblings");
  for (const json& sibling : *siblings) {
    if (auto file = file_of(sibling)) listing.files.push_back(*std::move(file));
  }
  return listing;
}

Result<void> HubApi::complete(const std::string& repo, const std::string& commit, HubFile& file) {
  const std::string url = file_url(repo, commit, file.name);
  TextBody body(0);
  DUNLIN_ASSIGN_OR_RETURN(const HttpResponse response,
                          client_.send({.url = url, .token = settings_.token, .head = true}, body));
  if (!response.ok()) return refused(repo, commit, file.name, url, response);
  const std::string size =
      first_of(response.header("x-linked-size"), response.header("content-length"));
  const std::string etag =
      unquoted_etag(first_of(response.header("x-linked-etag"), response.header("etag")));
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), file.size);
  if (!checksum_kind(etag) || error != std::errc() || end != size.data() + size.size()) {
    return network_error(fmt::format(
        "{}: the server tells no size or no checksum (ETag {}): nothing could prove the download",
        url, quoted_text(etag)));
  }
  file.etag = etag;
  return {};
}

std::string HubApi::file_url(const std::string& repo, const std::string& commit,
                             const std::string& file) const {
  return fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, repo, commit,
                     url_encoded(file, /*keep_slashes=*/true));
}

// The codes of X-Error-Code are those of huggingface_hub's hf_raise_for_status(). To who has no
// token the hub says 401 for what does not exist, too.
Error HubApi::refused(const std::string& repo, const std::string& revision, const std::string& file,
                      const std::string& url, const HttpResponse& response) const {
  const std::string code = response.header("x-error-code");
  const std::string words = response.header("x-error-message");
  const std::string& hub = settings_.endpoint;
  const bool has_token = !settings_.token.empty();
  if (code == "GatedRepo") {
    return model_error(fmt::format(
        "{}: gated: accept its licence at {}/{}, {}", repo, hub, repo,
        has_token ? "with the account that the token (HF_TOKEN) belongs to"
                  : fmt::format("then set HF_TOKEN to a token of {}/settings/tokens", hub)));
  }
  if (code == "RevisionNotFound")
    return model_error(fmt::format("{}: no revision {}", repo, quoted_text(revision)));
  if (code == "EntryNotFound" || (response.status == 404 && !file.empty())) {
    return model_error(
        fmt::format("{}: no file {} in revision {}", repo, quoted_text(file), revision));
  }
  if (words == "Invalid credentials in Authorization header") {
    return model_error(fmt::format(
        "{}: the token (HF_TOKEN) is not valid; {}/settings/tokens has the valid ones", repo, hub));
  }
  if (code == "RepoNotFound" || response.status == 401 || response.status == 404) {
    return model_error(fmt::format("{}: no such model at {}, or a private one: {}", repo, hub,
                                   has_token
                                       ? "check the name, and that the token (HF_TOKEN) may read it"
                                       : "check the name; a private one needs HF_TOKEN"));
  }
  if (response.status == 403) {
    return model_error(fmt::format("{}: {} refuses access{}", repo, hub,
                                   words.empty() ? "" : ": " + quoted_text(words)));
  }
  return network_error(fmt::format("{}: HTTP status {}", url, response.status));
}

}  // namespace dunlin
