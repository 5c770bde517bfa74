// NFC: Unicode canonical composition (Unicode Standard Annex 15) of valid UTF-8 text, by the tables of
// Unicode 15.0. Those of the `tokenizers` package 0.23 are older: it leaves marks that Unicode 10 and
// later added where they stand, which shows only where one follows another mark out of order.
#pragma once

#include <string>
#include <string_view>

namespace dunlin {

// True when every character is one that NFC never changes; false says only that to_nfc must look
// closer.
bool is_surely_nfc(std::string_view text) noexcept;

// O(n log n) time whatever the text is; memory beside the result grows with the longest run of
// combining characters.
std::string to_nfc(std::string_view text);

}  // namespace dunlin
