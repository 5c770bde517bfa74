#include "support/stand_in_hub.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "hub/checksum.h"

namespace dunlin {
namespace {

using nlohmann::json;

std::string checksum_of(const std::string& bytes, bool large) {
  auto checksum =
      Checksum::create(large ? ChecksumKind::sha256 : ChecksumKind::git_sha1, bytes.size());
  if (!checksum.ok()) throw std::runtime_error(checksum.error().message);
  checksum->update(std::as_bytes(std::span(bytes)));
  return checksum->finish();
}

ServedReply refusal(int status, const std::string& code, const std::string& message) {
  return {.status = status,
          .headers = {{"X-Error-Code", code}, {"X-Error-Message", message}},
          .body = json{{"error", message}}.dump()};
}

}  // namespace

StandInHub::StandInHub()
    : storage_([this](const ServedRequest& request) { return storage_reply(request); }),
      hub_([this](const ServedRequest& request) { return hub_reply(request); }) {}

StandInHub::File& StandInHub::add(const std::string& name, const std::string& bytes, bool large) {
  const std::lock_guard lock(mutex_);
  return files_[name] = {.bytes = bytes,
                         .large = large,
                         .etag = checksum_of(bytes, large),
                         .size = bytes.size()};
}

void StandInHub::remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  files_.erase(name);
}

void StandInHub::set_fault(Fault fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

std::optional<ServedReply> StandInHub::fault(const ServedRequest& request, bool storage) {
  Fault fault;
  {
    const std::lock_guard lock(mutex_);
    fault = fault_;
  }
  return fault ? fault(request, storage) : std::nullopt;
}

ServedReply StandInHub::hub_reply(const ServedRequest& request) {
  if (auto reply = fault(request, /*storage=*/false)) return *reply;
  const std::lock_guard lock(mutex_);
  if (!token_.empty() && request.header("authorization") != "Bearer " + token_)
    return refusal(401, "RepoNotFound", "Invalid username or password.");
  const std::string api = fmt::format("/api/models/{}/revision/", kRepo);
  if (request.target.starts_with(api)) {
    const std::string rest = request.target.substr(api.size());
    const std::string revision = rest.substr(0, rest.find('?'));
    if (revision == "main" || revision == commit_ || revision == "refs%2Fpr%2F1") return listing();
    return refusal(404, "RevisionNotFound", "Invalid rev id: " + revision);
  }
  const std::string resolve = fmt::format("/{}/resolve/{}/", kRepo, commit_);
  if (request.target.starts_with(resolve))
    return file(request, request.target.substr(resolve.size()));
  return refusal(404, "RepoNotFound", "Repository not found");
}

ServedReply StandInHub::listing() const {
  json siblings = json::array();
  for (const auto& [name, file] : files_) {
    json sibling = {{"rfilename", name}};
    if (list_checksums_) {
      sibling["size"] = file.size;
      sibling["blobId"] = file.large ? std::string(40, 'b') : file.etag;
      if (file.large)
        sibling["lfs"] = {{"size", file.size}, {"sha256", file.etag}, {"pointerSize", 134}};
    }
    siblings.push_back(sibling);
  }
  return {.body = json{{"id", kRepo}, {"sha", commit_}, {"siblings", siblings}}.dump()};
}

ServedReply StandInHub::file(const ServedRequest& request, const std::string& name) const {
  const auto it = files_.find(name);
  if (it == files_.end()) return refusal(404, "EntryNotFound", "Entry not found");
  const File& file = it->second;
  ServedReply reply = {.headers = {{"X-Repo-Commit", commit_}, {"Accept-Ranges", "bytes"}}};
  if (file.large) {
    reply.status = 302;
    reply.headers.emplace_back("X-Linked-Etag", fmt::format("\"{}\"", file.etag));
    reply.headers.emplace_back("X-Linked-Size", std::to_string(file.size));
    reply.headers.emplace_back("Location", storage_.url() + "/" + name + "?Signature=secret");
    reply.body = "Found. Redirecting";
    return reply;
  }
  reply.headers.emplace_back("ETag", fmt::format("\"{}\"", file.etag));
  reply.body = file.bytes;
  return in_range(request, reply);
}

ServedReply StandInHub::storage_reply(const ServedRequest& request) {
  if (auto reply = fault(request, /*storage=*/true)) return *reply;
  const std::lock_guard lock(mutex_);
  const std::string name = request.target.substr(1, request.target.find('?') - 1);
  const auto it = files_.find(name);
  if (it == files_.end()) return {.status = 404};
  return in_range(request, {.headers = {{"ETag", "\"not a checksum\""}}, .body = it->second.bytes});
}

}  // namespace dunlin
