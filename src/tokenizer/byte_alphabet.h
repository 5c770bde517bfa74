// The printable alphabet in which byte-level BPE files write their tokens (GPT-2, encoder.py,
// bytes_to_unicode): bytes 33..126, 161..172 and 174..255 are the characters of the same number;
// the other 68, in increasing order, are U+0100, U+0101, ... Every token of the engine is raw
// bytes; this form exists in files only.
#pragma once

#include <string>
#include <string_view>

namespace dunlin {

// Appends the bytes that `text` (valid UTF-8) stands for. False, with `bytes` unchanged, when a
// character is not in the alphabet.
bool append_from_byte_alphabet(std::string_view text, std::string& bytes);

// The text that stands for `bytes`: one character of one or two bytes for each.
std::string to_byte_alphabet(std::string_view bytes);

}  // namespace dunlin
