#include "cli/line_editor.h"

#include <histedit.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <string_view>
#include <utility>

#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace dunlin {
namespace {

constexpr int kHistoryEntries = 1000;
constexpr size_t kMostPasted = 1u << 20;  // characters
constexpr wchar_t kReplacement = 0xfffd;

volatile std::sig_atomic_t g_resized = 0;

// Terminals send UTF-8 whatever LANG says; a container often has no LANG at all.
void use_utf8() {
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) std::setlocale(LC_CTYPE, "");
}

std::string to_utf8(std::wstring_view text) {
  std::string bytes;
  std::mbstate_t state = {};
  char encoded[16];
  for (const wchar_t each : text) {
    const size_t count = std::wcrtomb(encoded, each, &state);
    if (count != static_cast<size_t>(-1)) bytes.append(encoded, count);
  }
  return bytes;
}

std::wstring to_wide(const std::string& bytes) {
  std::wstring text;
  std::mbstate_t state = {};
  for (size_t at = 0; at < bytes.size();) {
    wchar_t each = 0;
    const size_t count = std::mbrtowc(&each, bytes.data() + at, bytes.size() - at, &state);
    const bool valid = count > 0 && count <= bytes.size();
    if (!valid) state = {};
    text += valid ? each : kReplacement;
    at += valid ? count : 1;
  }
  return text;
}

// Catches SIGWINCH while a line is edited. Without SA_RESTART it ends a read.
class ResizeSignal {
 public:
  ResizeSignal() {
    struct sigaction action = {};
    action.sa_handler = [](int) { g_resized = 1; };
    sigaction(SIGWINCH, &action, &before_);
  }
  ~ResizeSignal() { sigaction(SIGWINCH, &before_, nullptr); }
  ResizeSignal(const ResizeSignal&) = delete;
  ResizeSignal& operator=(const ResizeSignal&) = delete;

 private:
  struct sigaction before_ = {};
};

}  // namespace

struct LineEditor::State {
  EditLine* editor = nullptr;
  HistoryW* history = nullptr;
  std::wstring prompt = {};
  std::vector<std::wstring> commands = {};
  bool marks_paste = false;  // the terminal can tell pasted text from typed

  ~State() {
    if (editor != nullptr) el_end(editor);
    if (history != nullptr) history_wend(history);
  }
};

namespace {

template <typename State>
State& state_of(EditLine* editor) {
  void* data = nullptr;
  el_wget(editor, EL_CLIENTDATA, &data);
  return *static_cast<State*>(data);
}

// Whether Ctrl-D, and nothing after it, was typed while no line was edited. The terminal keeps it as
// a mark, which a read sees as the end and which is not counted as a byte; when the mode changes it
// becomes a character that means nothing. All marks are taken: the shell would see one that is left.
bool take_end_typed_ahead() {
  bool taken = false;
  for (;;) {
    pollfd event = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    int bytes = 0;
    char byte = 0;
    const bool only_marks = ::poll(&event, 1, 0) == 1 && event.revents == POLLIN &&
                            ::ioctl(STDIN_FILENO, FIONREAD, &bytes) == 0 && bytes == 0;
    if (!only_marks || ::read(STDIN_FILENO, &byte, 1) != 0) return taken;
    taken = true;
  }
}

// One character, for libedit: 1, 0 at the end, -1 when a signal came that is to be told. libedit's
// own function waits on after the first signal.
int read_character(EditLine* editor, wchar_t* character) {
  std::string bytes;
  std::mbstate_t state = {};
  for (;;) {
    if (!wait_for_input(STDIN_FILENO)) {
      if (std::exchange(g_resized, 0) != 0) el_resize(editor);
      if (pending_interrupt() != 0) return -1;
      continue;
    }
    char byte = 0;
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count == 0) return 0;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EIO ? 0 : -1;
    const size_t used = std::mbrtowc(character, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;
    if (used == static_cast<size_t>(-1)) *character = kReplacement;
    return 1;
  }
}

// Up to the terminal's mark of the end of pasted text. False: the input ended first. Nothing of a
// text with more than kMostPasted characters is kept, and `too_long` set.
bool read_pasted(EditLine* editor, std::wstring& text, bool& too_long) {
  constexpr std::wstring_view kEnd = L"\x1b[201~";
  wchar_t character = 0;
  while (!text.ends_with(kEnd)) {
    if (el_wgetc(editor, &character) != 1) return false;
    text += character;
    if (text.size() <= kMostPasted + kEnd.size()) continue;
    too_long = true;
    text.erase(0, text.size() - kEnd.size());
  }
  text.resize(text.size() - kEnd.size());
  return true;
}

// All of it is one insertion, without commands of editing in it.
unsigned char insert_pasted(EditLine* editor, int) {
  std::wstring text;
  bool too_long = false;
  if (!read_pasted(editor, text, too_long)) return CC_EOF;
  if (too_long) {
    note("\nthe pasted text has more than {} characters and is left out; a pipe takes it\n",
         kMostPasted);
    return CC_REDISPLAY;
  }
  std::wstring clean;
  for (const wchar_t each : text) {
    if (each == L'\r' || each == L'\n') {
      clean += L'\n';
    } else if (each >= L' ' || each == L'\t') {
      clean += each == 0x7f ? L' ' : each;
    }
  }
  return el_winsertstr(editor, clean.c_str()) == 0 ? CC_REFRESH : CC_REFRESH_BEEP;
}

// The command that the line begins to name, when there is only one.
template <typename State>
unsigned char complete_command(EditLine* editor, int) {
  const LineInfoW* const line = el_wline(editor);
  const std::wstring_view typed(line->buffer, static_cast<size_t>(line->cursor - line->buffer));
  const std::wstring* only = nullptr;
  for (const std::wstring& each : state_of<State>(editor).commands) {
    if (typed.empty() || !each.starts_with(typed)) continue;
    if (only != nullptr) return CC_REFRESH_BEEP;
    only = &each;
  }
  if (only == nullptr) return CC_REFRESH_BEEP;
  el_winsertstr(editor, (only->substr(typed.size()) + L" ").c_str());
  return CC_REFRESH;
}

template <typename State>
wchar_t* prompt_of(EditLine* editor) {
  return state_of<State>(editor).prompt.data();
}

void bind_keys(EditLine* editor) {
  for (const auto& [key, function] :
       {std::pair(L"\\e[200~", L"dunlin-paste"), std::pair(L"\\t", L"dunlin-complete"),
        std::pair(L"^R", L"em-inc-search-prev"), std::pair(L"\\e[1;5C", L"em-next-word"),
        std::pair(L"\\e[1;5D", L"ed-prev-word"), std::pair(L"\\e[3~", L"ed-delete-next-char"),
        std::pair(L"\\e[1~", L"ed-move-to-beg"), std::pair(L"\\e[4~", L"ed-move-to-end")}) {
    el_wset(editor, EL_BIND, key, function, nullptr);
  }
}

}  // namespace

LineEditor::LineEditor(std::unique_ptr<State> state) : state_(std::move(state)) {}
LineEditor::~LineEditor() = default;

Result<std::unique_ptr<LineEditor>> LineEditor::create(std::vector<std::string> commands) {
  use_utf8();
  auto state = std::make_unique<State>();
  State& s = *state;
  for (const std::string& each : commands) s.commands.push_back(to_wide(each));
  s.editor = el_init("dunlin", stdin, stderr, stderr);
  s.history = history_winit();
  if (s.editor == nullptr || s.history == nullptr)
    return runtime_error("the terminal cannot be used for editing");
  HistEventW event = {};
  history_w(s.history, &event, H_SETSIZE, kHistoryEntries);
  history_w(s.history, &event, H_SETUNIQUE, 1);
  el_wset(s.editor, EL_CLIENTDATA, &s);
  el_wset(s.editor, EL_HIST, history_w, s.history);
  el_wset(s.editor, EL_EDITOR, L"emacs");
  el_wset(s.editor, EL_GETCFN, read_character);
  el_wset(s.editor, EL_PROMPT, prompt_of<State>);
  el_wset(s.editor, EL_ADDFN, L"dunlin-paste", L"Insert pasted text", insert_pasted);
  el_wset(s.editor, EL_ADDFN, L"dunlin-complete", L"Complete a command", complete_command<State>);
  bind_keys(s.editor);
  el_source(s.editor, nullptr);  // ~/.editrc, where there is one
  const char* const terminal = std::getenv("TERM");
  s.marks_paste = terminal != nullptr && std::string_view(terminal) != "dumb";
  return std::unique_ptr<LineEditor>(new LineEditor(std::move(state)));
}

Result<LineReader::Status> LineEditor::read(const std::string& prompt, std::string& line) {
  State& s = *state_;
  const ResizeSignal resize;
  s.prompt = to_wide(prompt);
  if (take_end_typed_ahead()) return LineReader::Status::end;
  // Before the prompt is shown: Ctrl-D, typed between, would be lost when the mode changes.
  el_wset(s.editor, EL_PREP_TERM, 1);
  if (s.marks_paste) std::fputs("\x1b[?2004h", stderr);
  int count = 0;
  const wchar_t* const text = el_wgets(s.editor, &count);
  if (s.marks_paste) std::fputs("\x1b[?2004l", stderr);
  if (pending_interrupt() != 0) return LineReader::Status::interrupted;
  if (text == nullptr || count <= 0) return LineReader::Status::end;
  std::wstring_view typed(text, static_cast<size_t>(count));
  if (typed.ends_with(L'\n')) typed.remove_suffix(1);
  line = to_utf8(typed);
  return LineReader::Status::line;
}

void LineEditor::remember(const std::string& entry) {
  HistEventW event = {};
  history_w(state_->history, &event, H_ENTER, to_wide(entry).c_str());
}

}  // namespace dunlin
