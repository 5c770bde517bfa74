// The folder of one model in Hugging Face's cache, as huggingface_hub reads and writes it
// (https://huggingface.co/docs/huggingface_hub/guides/manage-cache):
//   CACHE/models--ORG--NAME/blobs/ETAG                  the bytes of a file
//                           snapshots/COMMIT/FILE       relative links to blobs
//                           refs/REVISION               the commit of a branch or tag
//   CACHE/.locks/models--ORG--NAME/ETAG.lock            locked while the blob is downloaded
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

class HfCache {
 public:
  // `cache`: the folder of all models; `repo`: is_repo_id().
  HfCache(const std::string& cache, const std::string& repo);

  const std::string& folder() const { return folder_; }
  std::string blob(const std::string& etag) const { return folder_ + "/blobs/" + etag; }
  std::string lock(const std::string& etag) const { return locks_ + "/" + etag + ".lock"; }
  std::string snapshot(const std::string& commit) const { return folder_ + "/snapshots/" + commit; }

  // The commit that `revision` stands for here: itself, or what refs/ has. Nothing when there is no
  // snapshot of it.
  std::optional<std::string> find_commit(const std::string& revision) const;

  // Files of the snapshot that are there, links without a target left out: paths below
  // snapshot(commit), sorted.
  std::vector<std::string> files(const std::string& commit) const;

  // Makes or replaces the link snapshots/COMMIT/FILE to blob(etag). Errors name the link.
  Result<void> link(const std::string& commit, const std::string& file,
                    const std::string& etag) const;

  // refs/REVISION becomes `commit`; for a revision that is the commit itself nothing is written.
  Result<void> set_commit(const std::string& revision, const std::string& commit) const;

 private:
  std::string temporary_name() const;
  std::string folder_, locks_;
};

// 40 hexadecimal digits.
bool is_commit(const std::string& text);

}  // namespace dunlin
