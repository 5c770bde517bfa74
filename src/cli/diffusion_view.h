// The text of a canvas as it appears, for --visual.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tokenizer/tokenizer.h"

namespace dunlin {

// The text of ids, every mask as one block character; ids with blanks between them where there is no
// tokenizer. Characters that would steer a terminal become blanks, but for ends of lines.
std::string canvas_text(std::span<const int32_t> ids, int32_t mask_id, const Tokenizer* tokenizer);

// Draws texts on stderr, on a terminal each over the one before.
class DiffusionView {
 public:
  explicit DiffusionView(bool enabled) : enabled_(enabled) {}
  ~DiffusionView() { clear(); }
  DiffusionView(const DiffusionView&) = delete;
  DiffusionView& operator=(const DiffusionView&) = delete;

  void draw(const std::string& title, const std::string& text);
  void clear();  // removes what is drawn from a terminal

 private:
  bool enabled_;
  size_t lines_ = 0;  // drawn and not cleared
};

}  // namespace dunlin
