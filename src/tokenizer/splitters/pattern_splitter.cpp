#include "tokenizer/splitters/pattern_splitter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

struct Part {
  Piece piece;
  bool match;
};

// The matches of a step and what lies between them, in order. An empty match that touches the one
// before is none (rust-onig, FindMatches).
Result<void> find_parts(const PatternStep& step, std::string_view text, PatternSearch& search,
                        std::vector<Part>& parts) {
  parts.clear();
  const auto size = static_cast<uint32_t>(text.size());
  uint32_t done = 0;
  for (size_t from = 0; from <= size;) {
    DUNLIN_ASSIGN_OR_RETURN(const auto found, search.find(*step.pattern, text, from));
    if (!found) break;
    const bool empty = found->begin == found->end;
    if (empty && !parts.empty() && found->end == done) {
      from = found->end < size ? found->end + read_code_point(text.data() + found->end).length
                               : size_t{size} + 1;
      continue;
    }
    if (found->begin > done) parts.push_back({{done, found->begin}, step.invert});
    parts.push_back({*found, !step.invert});
    done = found->end;
    from = done;
  }
  if (done < size) parts.push_back({{done, size}, step.invert});
  return {};
}

// `parts` joined as the behaviour says; for merged_with_next they run from the last to the first.
std::vector<Piece> merge(const std::vector<Part>& parts, MatchBehavior behavior) {
  std::vector<Piece> pieces;
  bool previous = false;
  for (const Part& part : parts) {
    const bool joins =
        behavior == MatchBehavior::contiguous ? part.match == previous : part.match && !previous;
    previous = part.match;
    if (joins && !pieces.empty()) {
      pieces.back().begin = std::min(pieces.back().begin, part.piece.begin);
      pieces.back().end = std::max(pieces.back().end, part.piece.end);
    } else {
      pieces.push_back(part.piece);
    }
  }
  return pieces;
}

void append_pieces(std::vector<Part>& parts, MatchBehavior behavior, uint32_t offset,
                   std::vector<Piece>& out) {
  const auto append = [&](Piece piece) {
    if (piece.begin < piece.end) out.push_back({offset + piece.begin, offset + piece.end});
  };
  if (behavior == MatchBehavior::isolated || behavior == MatchBehavior::removed) {
    for (const Part& part : parts) {
      if (!part.match || behavior == MatchBehavior::isolated) append(part.piece);
    }
    return;
  }
  const bool backwards = behavior == MatchBehavior::merged_with_next;
  if (backwards) std::reverse(parts.begin(), parts.end());
  std::vector<Piece> merged = merge(parts, behavior);
  if (backwards) std::reverse(merged.begin(), merged.end());
  for (const Piece& piece : merged) append(piece);
}

void append_gpt2_pieces(std::string_view text, uint32_t offset, std::vector<Piece>& out) {
  std::array<Piece, 64> pieces;
  while (!text.empty()) {
    const size_t count = kGpt2Splitter.split(text, pieces);
    for (size_t i = 0; i < count; ++i)
      out.push_back({offset + pieces[i].begin, offset + pieces[i].end});
    const uint32_t done = pieces[count - 1].end;
    text.remove_prefix(done);
    offset += done;
  }
}

// Moves the bounds of the pieces, which are in order, between a text and its form in the byte alphabet,
// where a character of `alphabet` stands for each byte.
void move_pieces(std::string_view alphabet, bool to_alphabet, std::vector<Piece>& pieces) {
  uint32_t byte = 0;
  uint32_t position = 0;  // in `alphabet`
  const auto move = [&](uint32_t& bound) {
    while ((to_alphabet ? byte : position) < bound) {
      position += read_code_point(alphabet.data() + position).length;
      ++byte;
    }
    bound = to_alphabet ? position : byte;
  };
  for (Piece& piece : pieces) {
    move(piece.begin);
    move(piece.end);
  }
}

Result<std::vector<Piece>> run_step(const PatternStep& step, std::string_view text,
                                    const std::vector<Piece>& pieces, PatternSearch& search) {
  std::vector<Piece> out;
  std::vector<Part> parts;
  for (const Piece& piece : pieces) {
    const std::string_view part = text.substr(piece.begin, piece.end - piece.begin);
    if (step.kind == PatternStep::Kind::gpt2) {
      append_gpt2_pieces(part, piece.begin, out);
      continue;
    }
    DUNLIN_RETURN_IF_ERROR(find_parts(step, part, search, parts));
    append_pieces(parts, step.behavior, piece.begin, out);
  }
  return out;
}

}  // namespace

Result<std::vector<Piece>> PatternSplitter::split(std::string_view text) const {
  std::vector<Piece> pieces;
  if (text.empty()) return pieces;
  pieces.push_back({0, static_cast<uint32_t>(text.size())});
  PatternSearch search(text.size());
  std::string alphabet;  // the text in the byte alphabet once a step has asked for it
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].kind == PatternStep::Kind::byte_alphabet) {
      alphabet = to_byte_alphabet(text);
      move_pieces(alphabet, true, pieces);
      text = alphabet;
      continue;
    }
    auto next = run_step(steps_[i], text, pieces, search);
    if (!next.ok()) return next.error().with_context(fmt::format("step {}", i + 1));
    pieces = std::move(next).value();
  }
  if (!alphabet.empty()) move_pieces(alphabet, false, pieces);
  return pieces;
}

}  // namespace dunlin
