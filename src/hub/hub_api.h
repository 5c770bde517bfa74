// The two addresses of the hub that a download needs: the list of a repository's files, and a file.
//   GET  ENDPOINT/api/models/REPO/revision/REVISION?blobs=true
//   HEAD ENDPOINT/REPO/resolve/COMMIT/FILE
// As huggingface_hub 2.4 uses them (hf_api.py: model_info; file_download.py: get_hf_file_metadata).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/http.h"
#include "hub/hub_settings.h"

namespace dunlin {

struct HubFile {
  std::string name = {};  // as the server sent it: see path_problem()
  uint64_t size = 0;      // bytes
  std::string etag = {};  // a checksum (checksum_kind()); empty where the list has none
};

struct HubListing {
  std::string commit = {};
  std::vector<HubFile> files = {};
};

class HubApi {
 public:
  HubApi(const HubSettings& settings, HttpClient& client) : settings_(settings), client_(client) {}

  // Errors of kind model: no such repository or revision, or no access to it, with what to do.
  // Errors of kind network: the server cannot be reached, or its answer makes no sense.
  Result<HubListing> list(const std::string& repo, const std::string& revision);

  // Size and checksum of a file for which list() had none, as with servers that know only a part
  // of the hub's interface. Errors as above.
  Result<void> complete(const std::string& repo, const std::string& commit, HubFile& file);

  // GET gives the file, from this server or from one that it redirects to.
  std::string file_url(const std::string& repo, const std::string& commit,
                       const std::string& file) const;

  // Why the hub refuses `file` of the repository, or all of it when `file` is empty. `url` is for
  // messages.
  Error refused(const std::string& repo, const std::string& revision, const std::string& file,
                const std::string& url, const HttpResponse& response) const;

 private:
  const HubSettings& settings_;
  HttpClient& client_;
};

}  // namespace dunlin
