// Messages of a chat.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <regex>

#include "terminal_session.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

ProcessResult chat(const TemporaryFolder& folder, const std::string& input,
                   const std::vector<std::string>& more = {"-n", "4"},
                   void (*prepare)() = nullptr) {
  std::vector<std::string> arguments = {"chat", folder.path(), "-q", "--ignore-eos"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_dunlin(arguments, {.text = input, .prepare = prepare});
}

// The path of a saved conversation.
std::string saved(const TemporaryFolder& folder) {
  std::string file = text_model(folder) + "/chat.dunlin";
  chat(folder, "Hello\n/save " + file + "\n");
  return file;
}

// One message and Ctrl-D at a terminal; its screen without what moves the cursor.
ProcessResult chat_at_terminal(const TemporaryFolder& folder,
                               const std::map<std::string, std::string>& environment) {
  TerminalSession session({"chat", text_model(folder), "-q", "-n", "2"}, environment);
  session.shows("> ");
  session.type("Hello\r");
  session.shows("> ");
  session.type("\x04");
  const int code = session.exit_code();
  const std::regex escapes("\x1b\\[[?0-9;]*[A-Za-z]|\r");
  return {.code = code, .out = {}, .err = std::regex_replace(session.screen(), escapes, "")};
}

ProcessResult save_while_locked(const TemporaryFolder& folder) {
  const std::string file = text_model(folder) + "/chat.dunlin";
  const int other = ::open((file + ".tmp").c_str(), O_WRONLY | O_CREAT, 0600);
  ::flock(other, LOCK_EX);
  const ProcessResult result = chat(folder, "Hello\n/save " + file + "\n");
  ::close(other);
  return result;
}

void limit_files() {
  const rlimit limit = {4096, 4096};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

}  // namespace

std::vector<MessageCase> chat_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <file>: damaged: <what>",
       [](Folder folder) {
         const std::string file = saved(folder);
         std::string bytes = read_all(file);
         bytes[bytes.size() / 2] ^= 1;
         write_all(file, bytes);
         return chat(folder, "/load " + file + "\n");
       }},
      {"error: <file>: is there and is not a saved conversation",
       [](Folder folder) {
         write_all(text_model(folder) + "/notes.txt", "precious");
         return chat(folder, "Hello\n/save " + folder.file("notes.txt") + "\n");
       }},
      {"error: <file>: another process is writing it", save_while_locked},
      {"error: <file>: File too large",
       [](Folder folder) {
         return chat(folder, "Hello\n/save " + text_model(folder) + "/chat.dunlin\n", {"-n", "4"},
                     limit_files);
       }},
      {"loaded <n> messages; they were saved with other settings (<names>), so the next answer "
       "computes them again",
       [](Folder folder) {
         return chat(folder, "/load " + saved(folder) + "\n", {"--precision", "f32"});
       }},
      {"the context of <n> tokens is full; /clear begins a new conversation",
       [](Folder folder) {
         text_model(folder);
         return chat(folder, "Hello\n", {"-c", "40"});
       }},
      {"warning: the history is not kept: <file>: <reason>",
       [](Folder folder) {
         write_all(folder.file("state"), "a file, not a folder");
         return chat_at_terminal(folder, {{"XDG_STATE_HOME", folder.file("state")}});
       }},
      {"No entry for terminal type \"<name>\";",
       [](Folder folder) {
         return chat_at_terminal(folder,
                                 {{"TERM", "no-such-terminal"}, {"XDG_STATE_HOME", folder.path()}});
       }},
  };
}

}  // namespace dunlin
