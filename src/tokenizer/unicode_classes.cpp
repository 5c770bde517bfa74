// Categories are those of Unicode 15.0 (utf8proc 2.8) and the letters and numbers that 15.1
// and 16.0 added: together the classes of the `tokenizers` package 0.23
// (tests/tokenizer/data/unicode_classes.json).
#include "tokenizer/unicode_classes.h"

#include <utf8proc.h>

#include <algorithm>
#include <bitset>
#include <map>
#include <span>
#include <string>

namespace dunlin {
namespace {

constexpr int32_t kCodePoints = 0x110000;

struct Range {
  int32_t first, last;
};

// White_Space (PropList.txt).
constexpr Range kSpaces[] = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                             {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                             {0x205F, 0x205F}, {0x3000, 0x3000}};

// DerivedGeneralCategory.txt of Unicode 16.0 without that of 15.0.
constexpr Range kNewerUpper[] = {{0x1C89, 0x1C89},
                                 {0xA7CB, 0xA7CC},
                                 {0xA7DA, 0xA7DA},
                                 {0xA7DC, 0xA7DC},
                                 {0x10D50, 0x10D65}};  // Lu
constexpr Range kNewerLower[] = {
    {0x1C8A, 0x1C8A}, {0xA7CD, 0xA7CD}, {0xA7DB, 0xA7DB}, {0x10D70, 0x10D85}};  // Ll
constexpr Range kNewerUncased[] = {
    {0x105C0, 0x105F3}, {0x10D4A, 0x10D4F}, {0x10D6F, 0x10D6F}, {0x10EC2, 0x10EC4},
    {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5},
    {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF},
    {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}};  // Lm, Lo
constexpr Range kNewerMarks[] = {{0x897, 0x897},     {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC},
                                 {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
                                 {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2},
                                 {0x113E1, 0x113E2}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F},
                                 {0x1E5EE, 0x1E5EF}};  // Mn, Mc
constexpr Range kNewerNumbers[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
                                   {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9},
                                   {0x1E5F1, 0x1E5FA}};

constexpr uint8_t kUpperLetter = kLetter | kUpperPart;
constexpr uint8_t kLowerLetter = kLetter | kLowerPart;
constexpr uint8_t kMark = kUpperPart | kLowerPart;
constexpr uint8_t kUncasedLetter = kLetter | kMark;

void add_class(std::vector<uint8_t>& classes, std::span<const Range> ranges, uint8_t bits) {
  for (const Range& range : ranges) {
    for (int32_t c = range.first; c <= range.last; ++c) classes[static_cast<size_t>(c)] |= bits;
  }
}

uint8_t category_class(int32_t c) {
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kUpperLetter;
    case UTF8PROC_CATEGORY_LL:
      return kLowerLetter;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kUncasedLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumber;
    default:
      return 0;
  }
}

// A canonical decomposition has at most four code points.
struct Decomposition {
  std::array<int32_t, 4> code_points;
  int32_t length;
};

Decomposition decompose(int32_t c) {
  Decomposition result = {};
  int boundary_class = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  result.length = static_cast<int32_t>(utf8proc_decompose_char(
      c, result.code_points.data(), result.code_points.size(), options, &boundary_class));
  return result;
}

bool recomposes_to(Decomposition decomposition, int32_t c) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto length =
      utf8proc_normalize_utf32(decomposition.code_points.data(), decomposition.length, options);
  return length == 1 && decomposition.code_points[0] == c;
}

// Sets kNfcInert: no combining class, never the later part of a composition, and equal to its own
// NFC.
void add_nfc_inert(std::vector<uint8_t>& classes) {
  std::bitset<kCodePoints> can_join_previous;
  std::vector<int32_t> decomposable;
  for (int32_t c = 0; c < kCodePoints; ++c) {
    const utf8proc_property_t* property = utf8proc_get_property(c);
    if (property->combining_class != 0) can_join_previous.set(static_cast<size_t>(c));
    const bool hangul_syllable = c >= 0xAC00 && c <= 0xD7A3;
    if (!hangul_syllable && (property->decomp_type != 0 || property->decomp_seqindex == UINT16_MAX))
      continue;
    decomposable.push_back(c);
    const Decomposition parts = decompose(c);
    for (int32_t i = 1; i < parts.length; ++i)
      can_join_previous.set(static_cast<size_t>(parts.code_points[i]));
  }
  std::bitset<kCodePoints> changes = can_join_previous;
  for (const int32_t c : decomposable) {
    const Decomposition parts = decompose(c);
    const bool joins = can_join_previous.test(static_cast<size_t>(parts.code_points[0]));
    if (joins || !recomposes_to(parts, c)) changes.set(static_cast<size_t>(c));
  }
  for (size_t c = 0; c < kCodePoints; ++c) {
    if (!changes.test(c)) classes[c] |= kNfcInert;
  }
}

}  // namespace

const UnicodeClasses& UnicodeClasses::instance() {
  static const UnicodeClasses classes;
  return classes;
}

UnicodeClasses::UnicodeClasses() {
  std::vector<uint8_t> classes(kCodePoints);
  for (int32_t c = 0; c < kCodePoints; ++c) classes[static_cast<size_t>(c)] = category_class(c);
  add_class(classes, kNewerUpper, kUpperLetter);
  add_class(classes, kNewerLower, kLowerLetter);
  add_class(classes, kNewerUncased, kUncasedLetter);
  add_class(classes, kNewerMarks, kMark);
  add_class(classes, kNewerNumbers, kNumber);
  add_class(classes, kSpaces, kSpace);
  classes['\r'] |= kNewline;
  classes['\n'] |= kNewline;
  add_nfc_inert(classes);

  std::map<std::string, uint16_t> known;
  for (size_t block = 0; block < block_of_.size(); ++block) {
    const auto begin = classes.begin() + static_cast<std::ptrdiff_t>(block * 256);
    const auto [it, added] =
        known.try_emplace(std::string(begin, begin + 256), static_cast<uint16_t>(known.size()));
    if (added) blocks_.insert(blocks_.end(), begin, begin + 256);
    block_of_[block] = it->second;
  }
}

}  // namespace dunlin
