// `dunlin pull`: a model from the Hugging Face hub into its cache.
#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/version.h"
#include "hub/pull.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct PullFlags {
  std::string repo;
  std::string revision = "main";
  std::vector<std::string> include, exclude;
  std::string local_dir;
  std::optional<std::string> token;
  bool offline = false, dry_run = false, json = false, quiet = false;
};

double in_megabytes(uint64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

std::string file_table(const PullPlan& plan) {
  const std::vector<TableColumn> columns = {{"file"}, {"MB", true}, {"to fetch, MB", true}};
  std::vector<std::vector<std::string>> rows;
  const auto add = [&rows](const std::string& name, uint64_t bytes, uint64_t missing) {
    rows.push_back({name, fmt::format("{:.1f}", in_megabytes(bytes)),
                    fmt::format("{:.1f}", in_megabytes(missing))});
  };
  for (const auto& [file, present, complete] : plan.files)
    add(file.name, file.size, file.size - present);
  add("total", plan.total_bytes(), plan.missing_bytes());
  return aligned_table(columns, rows);
}

class PullRun {
 public:
  explicit PullRun(const PullFlags& flags) : flags_(flags) {}

  Result<int> run() {
    DUNLIN_ASSIGN_OR_RETURN(request_.model, parse_hub_model(flags_.repo));
    request_.revision = flags_.revision;
    request_.choice = {.include = flags_.include, .exclude = flags_.exclude};
    request_.local_dir = flags_.local_dir;
    DUNLIN_ASSIGN_OR_RETURN(HubSettings settings, hub_settings());
    if (flags_.token) {
      DUNLIN_ASSIGN_OR_RETURN(settings.token, clean_token(*flags_.token, "--token"));
    }
    settings.offline = settings.offline || flags_.offline;
    catch_interrupts();
    const HttpOptions http{.user_agent = fmt::format("dunlin/{}", version()),
                           .cancelled = [] { return pending_interrupt() != 0; }};
    const auto done = pull({settings, http, request_});
    if (!done.ok() && pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    if (!done.ok()) return done.error();
    return 0;
  }

 private:
  Result<void> pull(Pull pull) {
    DUNLIN_ASSIGN_OR_RETURN(const PullPlan plan, pull.plan());
    if (!flags_.quiet) {
      if (!plan.note.empty()) note("{}\n", plan.note);
      note("{} at {}: {} files, {:.1f} MB, {:.1f} MB to fetch\n", request_.model.repo, plan.commit,
           plan.files.size(), in_megabytes(plan.total_bytes()), in_megabytes(plan.missing_bytes()));
    }
    const auto start = Clock::now();
    if (!flags_.dry_run) DUNLIN_RETURN_IF_ERROR(fetch(pull, plan));
    const std::chrono::duration<double> seconds = Clock::now() - start;
    print(plan, seconds.count());
    return {};
  }

  Result<void> fetch(Pull& pull, const PullPlan& plan) const {
    ProgressBar bar(!flags_.quiet);
    const auto start = Clock::now();
    const uint64_t missing = plan.missing_bytes(), present = plan.total_bytes() - missing;
    const auto fetched = pull.run(plan, [&](uint64_t bytes) {
      const std::chrono::duration<double> seconds = Clock::now() - start;
      bar.update(missing == 0 ? 1 : static_cast<double>(bytes) / static_cast<double>(missing),
                 fmt::format("{:.0f} MB of {:.0f}, {:.1f} MB/s", in_megabytes(present + bytes),
                             in_megabytes(present + missing),
                             in_megabytes(bytes) / std::max(seconds.count(), 1e-3)));
    });
    bar.clear();
    return fetched;
  }

  // The path is the product, so that $(dunlin pull ...) is a MODEL.
  void print(const PullPlan& plan, double seconds) const {
    if (flags_.json) {
      fmt::print("{}\n", json_line(to_json(plan, seconds)));
    } else if (flags_.dry_run) {
      fmt::print("{}", file_table(plan));
    } else {
      fmt::print("{}\n", plan.path);
    }
  }

  Json to_json(const PullPlan& plan, double seconds) const {
    Json files = Json::array();
    for (const auto& [file, present, complete] : plan.files) {
      files.push_back({{"name", file.name},
                       {"bytes", file.size},
                       {"missing_bytes", file.size - present},
                       {"etag", file.etag}});
    }
    return {{"schema_version", 1},
            {"repo", request_.model.repo},
            {"revision", request_.revision},
            {"commit", plan.commit},
            {"path", plan.path},
            {"dry_run", flags_.dry_run},
            {"total_bytes", plan.total_bytes()},
            {flags_.dry_run ? "missing_bytes" : "fetched_bytes", plan.missing_bytes()},
            {"seconds", seconds},
            {"files", files}};
  }

  const PullFlags& flags_;
  PullRequest request_ = {};
};

void add_pull_flags(Command command, PullFlags& flags) {
  add_flag(command, "repo", flags.repo,
           "ORG/NAME, ORG/NAME:QUANT for one of several GGUF files, or ORG/NAME/FILE.gguf")
      .required()
      .type_name("REPO");
  add_flag(command, "--revision", flags.revision, "branch, tag or commit");
  add_flag(command, "--include", flags.include,
           "fetch the files that this pattern fits, instead of those of a model; may be repeated")
      .type_name("GLOB");
  add_flag(command, "--exclude", flags.exclude,
           "leave out the files that this pattern fits; may be repeated")
      .type_name("GLOB");
  const Flag folder =
      add_flag(command, "--local-dir", flags.local_dir, "a folder for the files, not the cache")
          .check(not_empty())
          .type_name("FILE");
  add_switch(command, "--offline", flags.offline, "take what the cache has (or HF_HUB_OFFLINE=1)")
      .excludes(folder);
  add_flag(command, "--token", flags.token,
           "for private and gated models (default: HF_TOKEN, then $HF_HOME/token)");
  add_switch(command, "--dry-run", flags.dry_run, "list the files and their sizes only");
  add_switch(command, "--json", flags.json, "print one JSON object");
  add_switch(command, "-q,--quiet", flags.quiet, "no progress");
}

}  // namespace

void add_pull_command(Command app, int& exit_code) {
  Command command = app.add_command("pull", "Fetch a model from the Hugging Face hub");
  auto flags = std::make_shared<PullFlags>();
  add_pull_flags(command, *flags);
  command.footer(
      "Examples:\n"
      "  dunlin pull Qwen/Qwen2.5-0.5B-Instruct\n"
      "  dunlin pull bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M\n"
      "  dunlin run \"$(dunlin pull Qwen/Qwen2.5-0.5B-Instruct -q)\" \"Hello\"\n"
      "  dunlin pull Qwen/Qwen2.5-0.5B-Instruct --local-dir model --dry-run\n"
      "Prints the path of the model. The cache is that of huggingface_hub: HF_HOME, HF_HUB_CACHE.\n"
      "A download that was interrupted goes on where it stopped.");
  command.callback([flags, &exit_code] {
    const auto result = PullRun(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
