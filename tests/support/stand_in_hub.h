// A stand-in for the Hugging Face hub inside the test process: the two servers of a download, the hub
// and the one that it redirects large files to.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "support/http_server.h"

namespace dunlin {

class StandInHub {
 public:
  static constexpr const char* kRepo = "org/tiny";
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  struct File {
    std::string bytes = {};
    bool large = false;     // in LFS: known by its SHA-256, kept by the other server
    std::string etag = {};  // what the hub says, be it true or not
    uint64_t size = 0;
  };
  // Instead of the usual reply; `storage`: the request came to the second server.
  using Fault = std::function<std::optional<ServedReply>(const ServedRequest&, bool storage)>;

  StandInHub();

  File& add(const std::string& name, const std::string& bytes, bool large = false);
  void remove(const std::string& name);
  void set_fault(Fault fault);
  void require_token(const std::string& token) { token_ = token; }
  // Whether the list of files has their sizes and checksums; HEAD tells them always.
  void list_checksums(bool value) { list_checksums_ = value; }
  void set_commit(const std::string& commit) { commit_ = commit; }

  std::string url() const { return hub_.url(); }
  std::vector<ServedRequest> hub_requests() const { return hub_.requests(); }
  std::vector<ServedRequest> storage_requests() const { return storage_.requests(); }

 private:
  ServedReply hub_reply(const ServedRequest& request);
  ServedReply storage_reply(const ServedRequest& request);
  ServedReply listing() const;
  ServedReply file(const ServedRequest& request, const std::string& name) const;
  std::optional<ServedReply> fault(const ServedRequest& request, bool storage);

  mutable std::mutex mutex_;  // of what follows, up to the servers
  std::map<std::string, File> files_;
  Fault fault_;
  std::string token_, commit_ = kCommit;
  bool list_checksums_ = true;
  HttpServer storage_, hub_;
};

}  // namespace dunlin
