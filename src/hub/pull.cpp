#include "hub/pull.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/text_checks.h"
#include "hub/checksum.h"
#include "hub/download_queue.h"
#include "hub/hf_cache.h"
#include "hub/local_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

// Bytes of a regular file; nothing when there is none.
std::optional<uint64_t> file_bytes(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  const uint64_t size = fs::file_size(path, error);
  if (error) return std::nullopt;
  return size;
}

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

// Where the file system that will hold `folder` has too little room for `bytes`.
Result<void> check_space(const std::string& folder, uint64_t bytes) {
  std::error_code ignored;
  fs::path there = fs::absolute(folder, ignored);
  while (!fs::exists(there, ignored) && there.has_relative_path()) there = there.parent_path();
  struct statvfs status = {};
  if (::statvfs(there.c_str(), &status) != 0) return {};  // whoever writes there will see
  const uint64_t free = uint64_t{status.f_bavail} * status.f_frsize;
  if (bytes <= free) return {};
  return Error{ErrorKind::does_not_fit,
               fmt::format("{}: {} are to be fetched, {} are free: {} short", folder,
                           megabytes(bytes), megabytes(free), megabytes(bytes - free))};
}

// The sizes are a server's; their sum must not wrap around.
Result<void> check_sizes(const std::string& repo, const std::vector<PullFile>& files) {
  uint64_t total = 0;
  for (const PullFile& each : files) {
    const auto sum = checked_add(total, each.file.size);
    if (!sum || !checked_cast<int64_t>(*sum)) {
      return network_error(fmt::format("{}: {} with {} bytes: no such size can be", repo,
                                       quoted_text(each.file.name), each.file.size));
    }
    total = *sum;
  }
  return {};
}

}  // namespace

uint64_t PullPlan::total_bytes() const {
  return std::accumulate(files.begin(), files.end(), uint64_t{0},
                         [](uint64_t sum, const PullFile& each) { return sum + each.file.size; });
}

uint64_t PullPlan::missing_bytes() const {
  return std::accumulate(files.begin(), files.end(), uint64_t{0},
                         [](uint64_t sum, const PullFile& each) {
                           return sum + (each.complete ? 0 : each.file.size - each.present);
                         });
}

Pull::Pull(HubSettings settings, HttpOptions http, PullRequest request)
    : settings_(std::move(settings)), http_(std::move(http)), request_(std::move(request)) {
  http_.stall_timeout = settings_.stall_timeout;
}

Result<void> Pull::check_request() const {
  if (const std::string problem = path_problem(request_.revision); !problem.empty()) {
    return usage_error(fmt::format("--revision: {} {}", quoted_text(request_.revision), problem));
  }
  if (settings_.offline && !request_.local_dir.empty())
    return usage_error("--local-dir needs the network, which --offline or HF_HUB_OFFLINE forbids");
  return {};
}

Result<PullPlan> Pull::plan() {
  DUNLIN_RETURN_IF_ERROR(check_request());
  return settings_.offline ? plan_offline() : plan_online();
}

Result<PullPlan> Pull::plan_online() {
  const std::string& repo = request_.model.repo;
  DUNLIN_ASSIGN_OR_RETURN(HttpClient client, HttpClient::create(http_));
  HubApi api(settings_, client);
  DUNLIN_ASSIGN_OR_RETURN(const HubListing listing, api.list(repo, request_.revision));
  std::map<std::string, HubFile> files;
  std::vector<std::string> names;
  for (const HubFile& file : listing.files) {
    if (files.emplace(file.name, file).second) names.push_back(file.name);
  }
  DUNLIN_ASSIGN_OR_RETURN(const SelectedFiles selected,
                          select_files(request_.model, names, request_.choice));
  PullPlan plan{.commit = listing.commit, .note = selected.note};
  plan.folder = request_.local_dir.empty() ? HfCache(settings_.cache, repo).snapshot(listing.commit)
                                           : request_.local_dir;
  plan.path = selected.gguf.empty() ? plan.folder : plan.folder + "/" + selected.gguf;
  for (const std::string& name : selected.names) {
    HubFile file = files[name];
    if (file.etag.empty()) DUNLIN_RETURN_IF_ERROR(api.complete(repo, listing.commit, file));
    DUNLIN_ASSIGN_OR_RETURN(PullFile looked_at, look_at(std::move(file)));
    plan.files.push_back(std::move(looked_at));
  }
  DUNLIN_RETURN_IF_ERROR(check_sizes(repo, plan.files));
  return plan;
}

Result<PullFile> Pull::look_at(HubFile file) const {
  PullFile result{.file = std::move(file)};
  std::string incomplete;
  if (request_.local_dir.empty()) {
    const HfCache cache(settings_.cache, request_.model.repo);
    const std::string blob = cache.blob(result.file.etag);
    result.complete = file_bytes(blob) == result.file.size;
    incomplete = blob + ".incomplete";
  } else {
    // What --local-dir notes of its files lies there.
    if (result.file.name.starts_with(".cache/")) {
      return model_error(fmt::format("{}: refused: the file name {}", request_.model.repo,
                                     quoted_text(result.file.name)));
    }
    const LocalFolder folder(request_.local_dir);
    result.complete = folder.has(result.file);
    incomplete = folder.incomplete(result.file);
  }
  const uint64_t begun = file_bytes(incomplete).value_or(0);
  result.present = result.complete ? result.file.size : begun;
  if (result.present > result.file.size) result.present = 0;
  return result;
}

Result<PullPlan> Pull::plan_offline() const {
  const std::string& repo = request_.model.repo;
  const HfCache cache(settings_.cache, repo);
  const auto not_there = [&](const std::string& what) {
    return model_error(fmt::format("{}: {} in the cache {}; `dunlin pull {}` fetches it", repo,
                                   what, settings_.cache, request_.model.text()));
  };
  const auto commit = cache.find_commit(request_.revision);
  if (!commit) return not_there(fmt::format("no revision {}", quoted_text(request_.revision)));
  const auto names = cache.files(*commit);
  const auto selected = select_files(request_.model, names, request_.choice);
  if (!selected.ok()) {
    if (selected.error().kind != ErrorKind::model) return selected.error();
    return not_there("no such model");
  }
  if (const std::string part = missing_part(selected->names); !part.empty())
    return not_there("no " + quoted_text(part));
  PullPlan plan{.commit = *commit, .folder = cache.snapshot(*commit), .note = selected->note};
  plan.path = selected->gguf.empty() ? plan.folder : plan.folder + "/" + selected->gguf;
  for (const std::string& name : selected->names) {
    const std::string link = plan.folder + "/" + name;
    std::error_code ignored;
    const uint64_t size = file_bytes(link).value_or(0);
    const std::string etag = fs::read_symlink(link, ignored).filename();
    plan.files.push_back(
        {.file = {.name = name, .size = size, .etag = etag}, .present = size, .complete = true});
  }
  return plan;
}

Result<void> Pull::run(const PullPlan& plan, const PullProgress& progress) {
  const std::string& repo = request_.model.repo;
  DUNLIN_RETURN_IF_ERROR(check_space(plan.folder, plan.missing_bytes()));
  DUNLIN_ASSIGN_OR_RETURN(HttpClient client, HttpClient::create(http_));
  const HubApi api(settings_, client);
  const HfCache cache(settings_.cache, repo);
  const LocalFolder local(request_.local_dir);
  std::vector<QueuedDownload> downloads;
  uint64_t present = 0;
  for (const auto& [file, bytes, complete] : plan.files) {
    if (complete) continue;
    present += bytes;
    const std::string url = api.file_url(repo, plan.commit, file.name);
    Download what{.file = file, .url = url, .token = settings_.token};
    if (request_.local_dir.empty()) {
      what.target = cache.blob(file.etag);
      what.incomplete = what.target + ".incomplete";
      what.lock = cache.lock(file.etag);
      what.present = [target = what.target, size = file.size] {
        return file_bytes(target) == size;
      };
    } else {
      what.target = local.target(file.name);
      what.incomplete = local.incomplete(file);
      what.lock = local.lock(file.name);
      what.present = [&local, file = file] { return local.has_noted(file); };
    }
    downloads.push_back(
        {.what = std::move(what),
         .refused = [&api, &repo, &plan, name = file.name, url](const HttpResponse& response) {
           return api.refused(repo, plan.commit, name, url, response);
         }});
  }
  // The largest first: it must not be alone at the end.
  std::ranges::sort(downloads, std::greater(),
                    [](const QueuedDownload& each) { return each.what.file.size; });
  DUNLIN_RETURN_IF_ERROR(download_all(downloads, http_, [&](int64_t bytes) {
    progress(static_cast<uint64_t>(std::max<int64_t>(0, bytes - static_cast<int64_t>(present))));
  }));
  return publish(plan);
}

// The file that makes a folder a model comes last, and the revision's name after it: whoever looks
// in between finds no model, or the one of before.
Result<void> Pull::publish(const PullPlan& plan) const {
  std::vector<const HubFile*> files;
  for (const PullFile& each : plan.files) files.push_back(&each.file);
  std::ranges::sort(files, {}, [&](const HubFile* file) {
    return file->name == "config.json" || plan.folder + "/" + file->name == plan.path;
  });
  if (!request_.local_dir.empty()) {
    const LocalFolder folder(request_.local_dir);
    for (const HubFile* file : files) DUNLIN_RETURN_IF_ERROR(folder.note(*file, plan.commit));
    return {};
  }
  const HfCache cache(settings_.cache, request_.model.repo);
  for (const HubFile* file : files)
    DUNLIN_RETURN_IF_ERROR(cache.link(plan.commit, file->name, file->etag));
  return cache.set_commit(request_.revision, plan.commit);
}

}  // namespace dunlin
