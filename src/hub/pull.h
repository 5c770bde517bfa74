// A model from the hub into Hugging Face's cache, or into a folder: what is to be fetched, and fetching it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/http.h"
#include "hub/hub_api.h"
#include "hub/hub_names.h"
#include "hub/hub_settings.h"
#include "hub/select_files.h"

namespace dunlin {

struct PullRequest {
  HubModel model = {};
  std::string revision = "main";  // branch, tag or commit
  FileChoice choice = {};
  std::string local_dir = {};  // empty: the cache
};

struct PullFile {
  HubFile file = {};
  uint64_t present = 0;  // bytes that are here, file.size when it is complete
  bool complete = false;
};

struct PullPlan {
  std::string commit = {};
  std::string folder = {};  // the snapshot in the cache, or local_dir
  std::string path = {};    // what the commands take as MODEL: the folder, or a .gguf file in it
  std::string note = {};    // for people: what was chosen
  std::vector<PullFile> files = {};

  uint64_t total_bytes() const;
  uint64_t missing_bytes() const;
};

// Bytes of missing_bytes() that have arrived, from the thread that called.
using PullProgress = std::function<void(uint64_t bytes)>;

class Pull {
 public:
  Pull(HubSettings settings, HttpOptions http, PullRequest request);

  // Asks the hub; with settings.offline takes what the cache has. Errors: as HubApi::list() and
  // select_files(); kind model when the cache lacks the model or a part of it.
  Result<PullPlan> plan();

  // Fetches what is missing, four files at a time. The snapshot and the revision name the files
  // when all of them are there, and not before. Errors: as download(); kind does_not_fit when the
  // disk has too little room, before anything is fetched.
  Result<void> run(const PullPlan& plan, const PullProgress& progress);

 private:
  Result<PullPlan> plan_online();
  Result<PullPlan> plan_offline() const;
  Result<void> check_request() const;
  Result<PullFile> look_at(HubFile file) const;
  Result<void> publish(const PullPlan& plan) const;

  HubSettings settings_;
  HttpOptions http_;
  PullRequest request_;
};

}  // namespace dunlin
