#include "cli/diffusion_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "cli/terminal.h"

namespace dunlin {
namespace {

constexpr const char* kMask = "\u2591";  // a light block
constexpr size_t kLineColumns = 78;      // lines are broken here, so that they can be drawn over

bool begins_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0u) != 0x80u;
}

// Lines of at most kLineColumns characters.
std::string broken_into_lines(const std::string& text) {
  std::string lines;
  size_t column = 0;
  for (const char byte : text) {
    if (byte == '\n') {
      column = 0;
    } else if (begins_character(byte) && column++ == kLineColumns) {
      lines += '\n';
      column = 1;
    }
    lines += byte;
  }
  return lines;
}

}  // namespace

std::string canvas_text(std::span<const int32_t> ids, int32_t mask_id, const Tokenizer* tokenizer) {
  std::string text;
  std::vector<int32_t> run;
  const auto end_run = [&] {
    if (tokenizer != nullptr) text += tokenizer->decode(run, /*skip_special=*/true);
    run.clear();
  };
  for (const int32_t id : ids) {
    if (id == mask_id) {
      end_run();
      text += kMask;
      if (tokenizer == nullptr) text += ' ';
    } else if (tokenizer == nullptr) {
      text += fmt::format("{} ", id);
    } else {
      run.push_back(id);
    }
  }
  end_run();
  for (char& byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if ((code < 0x20 && byte != '\n') || code == 0x7F) byte = ' ';
  }
  return text;
}

void DiffusionView::draw(const std::string& title, const std::string& text) {
  if (!enabled_) return;
  clear();
  const std::string frame = fmt::format("{}\n{}\n", title, broken_into_lines(text));
  note("{}", frame);
  std::fflush(stderr);
  if (stderr_is_terminal()) lines_ = static_cast<size_t>(std::ranges::count(frame, '\n'));
}

void DiffusionView::clear() {
  if (lines_ == 0) return;
  note("\x1b[{}F\x1b[J", lines_);
  std::fflush(stderr);
  lines_ = 0;
}

}  // namespace dunlin
