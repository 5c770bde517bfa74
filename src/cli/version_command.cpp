// `dunlin version`: what this build is.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/version.h"

namespace dunlin {

const char* version() {
  return DUNLIN_VERSION;
}

std::string compiler_version() {
#if defined(__clang__)
  return fmt::format("clang++ {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

void add_version_command(Command app, int& exit_code) {
  Command command = app.add_command("version", "Print the version");
  auto json = std::make_shared<bool>(false);
  add_switch(command, "--json", *json, "print one JSON object");
  command.footer("Example:\n  dunlin version --json");
  command.callback([json, &exit_code] {
    if (*json) {
      fmt::print("{}\n", json_line({{"schema_version", 1},
                                    {"version", version()},
                                    {"compiler", compiler_version()}}));
    } else {
      fmt::print("dunlin {} ({})\n", version(), compiler_version());
    }
    exit_code = 0;
  });
}

}  // namespace dunlin
