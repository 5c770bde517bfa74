// A folder that gets files of the hub under their own names instead of the cache's layout
// (--local-dir). What came from where is noted as huggingface_hub notes it (_local_folder.py, 2.4):
//   DIR/.cache/huggingface/download/FILE.metadata      commit, etag and seconds since 1970, a line each
//                                   FILE.lock          locked while it is downloaded
//                                   FILE.ETAG.incomplete
#pragma once

#include <string>

#include "base/result.h"
#include "hub/hub_api.h"

namespace dunlin {

class LocalFolder {
 public:
  explicit LocalFolder(const std::string& folder);

  const std::string& folder() const { return folder_; }
  std::string target(const std::string& file) const { return folder_ + "/" + file; }
  std::string lock(const std::string& file) const { return notes_ + file + ".lock"; }
  std::string incomplete(const HubFile& file) const {
    return notes_ + file.name + "." + file.etag + ".incomplete";
  }

  // Whether the file is there with these bytes: by its note, when it has not been changed since.
  bool has_noted(const HubFile& file) const;
  // The same; without a valid note by its checksum.
  bool has(const HubFile& file) const;

  // Notes that target(file.name) was checked. Errors name the note.
  Result<void> note(const HubFile& file, const std::string& commit) const;

 private:
  std::string folder_, notes_;
};

}  // namespace dunlin
