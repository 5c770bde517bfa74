#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/byte_source.h"
#include "base/checked.h"
#include "tokenizer/merged_pieces.h"
#include "tokenizer/nfc.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

constexpr size_t kMaxTextBytes = INT32_MAX;

// The parts of a text in which special tokens are allowed: sorted ranges of bytes that do not touch
// each other.
class AllowedRanges {
 public:
  void add(size_t begin, size_t end) {
    if (begin == end) return;
    if (!ranges_.empty() && ranges_.back().end == begin) {
      ranges_.back().end = end;
    } else {
      ranges_.push_back({begin, end});
    }
  }
  bool covers(size_t begin, size_t end) const {
    const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                                        [](size_t at, const Range& r) { return at < r.begin; });
    return after != ranges_.begin() && end <= std::prev(after)->end;
  }

 private:
  struct Range {
    size_t begin, end;
  };
  std::vector<Range> ranges_;
};

Error too_long() {
  return usage_error(
      fmt::format("a text of more than {} bytes, the most that can be tokenized", kMaxTextBytes));
}

}  // namespace

// The work of one encode call.
class Tokenizer::Encoding {
 public:
  Encoding(const Tokenizer& tokenizer, const AllowedRanges& allowed)
      : tokenizer_(tokenizer), allowed_(allowed) {}

  // Added tokens in `text` need permission as special ones do.
  void reserve(std::string_view text) {
    const auto any = [](const AddedToken&, size_t, size_t) { return true; };
    size_t done = 0;
    while (const auto match = tokenizer_.raw_added_tokens_.find(text, done, any)) {
      reserved_.insert(match->id);
      done = match->end;
    }
  }

  Result<std::vector<int32_t>> run(std::string_view text) && {
    const auto permission = [this](const AddedToken& token, size_t begin, size_t end) {
      return !is_reserved(token) || allowed_.covers(begin, end);
    };
    ids_.reserve(text.size() / 4);  // English has 4.3 bytes to a token
    DUNLIN_RETURN_IF_ERROR(
        scan(tokenizer_.raw_added_tokens_, text, permission,
             [&](size_t begin, size_t end) { return encode_gap(text, begin, end); }));
    return std::move(ids_);
  }

 private:
  bool is_reserved(const AddedToken& token) const {
    return token.special || reserved_.contains(token.id);
  }

  // Added tokens of `text` become ids; `on_gap(begin, end)` gets each part between them that is not
  // empty. An added token is whole characters, so that cutting at it never cuts a valid character,
  // nor joins invalid bytes to one.
  template <typename OnGap>
  Result<void> scan(const AddedTokenMatcher& matcher, std::string_view text,
                    const AddedTokenMatcher::Permission& permission, const OnGap& on_gap) {
    size_t done = 0;
    while (const auto match = matcher.find(text, done, permission)) {
      if (match->begin > done) DUNLIN_RETURN_IF_ERROR(on_gap(done, match->begin));
      ids_.push_back(match->id);
      done = match->end;
    }
    if (done < text.size()) return on_gap(done, text.size());
    return {};
  }

  // Text without raw added tokens: make it valid, normalise, take out the added tokens of
  // normalised text.
  Result<void> encode_gap(std::string_view text, size_t gap_begin, size_t gap_end) {
    const std::string_view gap = text.substr(gap_begin, gap_end - gap_begin);
    const auto& matcher = tokenizer_.normalized_added_tokens_;
    if (tokenizer_.nfc_) {
      const std::string_view valid = make_valid(gap);
      const bool changes = !is_surely_nfc(valid);
      const std::string normalized = changes ? to_nfc(valid) : std::string();
      const std::string_view result = changes ? std::string_view(normalized) : valid;
      const auto always = [](const AddedToken&, size_t, size_t) {
        return true;
      };  // none of them is special (read_added_token)
      return scan(matcher, result, always, [&](size_t begin, size_t end) {
        return encode_text(result.substr(begin, end - begin));
      });
    }
    const auto permission = [&](const AddedToken& token, size_t begin, size_t end) {
      return !token.special || allowed_.covers(gap_begin + begin, gap_begin + end);
    };
    return scan(matcher, gap, permission, [&](size_t begin, size_t end) {
      return encode_text(make_valid(gap.substr(begin, end - begin)));
    });
  }

  // `text` itself or, when it is not valid UTF-8, a copy that is.
  std::string_view make_valid(std::string_view text) {
    if (is_valid_utf8(text)) return text;
    valid_.clear();
    append_valid_utf8(text, valid_);
    return valid_;
  }

  // Valid UTF-8 without added tokens.
  Result<void> encode_text(std::string_view text) {
    if (text.size() >
        kMaxTextBytes)  // replacing what is invalid can make a text three times as long
      return too_long();
    if (tokenizer_.adds_prefix_space_ && !text.starts_with(' ')) {
      prefixed_.assign(1, ' ');
      prefixed_ += text;
      text = prefixed_;
    }
    merged_pieces_.reset(text.size());
    if (tokenizer_.splitter_ == nullptr) {
      DUNLIN_ASSIGN_OR_RETURN(const auto pieces, tokenizer_.pattern_splitter_->split(text));
      encode_pieces(text, pieces);
      return {};
    }
    std::array<Piece, Vocabulary::kMostFound> pieces;
    while (!text.empty()) {
      const size_t count = tokenizer_.splitter_->split(text, pieces);
      encode_pieces(text, {pieces.data(), count});
      text.remove_prefix(pieces[count - 1].end);
    }
    return {};
  }

  void encode_pieces(std::string_view text, std::span<const Piece> pieces) {
    std::array<int32_t, Vocabulary::kMostFound> found;
    while (!pieces.empty()) {
      const auto portion = pieces.first(std::min(pieces.size(), found.size()));
      tokenizer_.vocabulary_.find_all(text, portion, found);
      for (size_t i = 0; i < portion.size(); ++i) {
        const Piece& piece = portion[i];
        append(text.substr(piece.begin, piece.end - piece.begin), found[i]);
      }
      pieces = pieces.subspan(portion.size());
    }
  }

  // `id` is the token with the piece's bytes, or kNone.
  void append(std::string_view piece, int32_t id) {
    if (id != Vocabulary::kNone && tokenizer_.is_whole_piece(id, piece, workspace_)) {
      ids_.push_back(id);
    } else {
      merged_pieces_.append(piece, ids_, [&](std::vector<int32_t>& ids) {
        tokenizer_.merger_.encode(piece, workspace_, ids);
      });
    }
  }

  const Tokenizer& tokenizer_;
  const AllowedRanges& allowed_;
  std::set<int32_t> reserved_;
  std::vector<int32_t> ids_;
  std::string valid_;
  std::string prefixed_;
  MergedPieces merged_pieces_;
  BytePairMerger::Workspace workspace_;
};

Tokenizer::Tokenizer(TokenizerParts parts)
    : vocabulary_(std::move(parts.vocabulary)),
      splitter_(parts.splitter),
      pattern_splitter_(std::move(parts.pattern_splitter)),
      adds_prefix_space_(parts.adds_prefix_space),
      nfc_(parts.nfc),
      added_ids_(std::move(parts.added_ids)),
      is_special_(static_cast<size_t>(vocabulary_.size())),
      whole_piece_(static_cast<size_t>(vocabulary_.size())),
      bos_id_(parts.bos_id),
      eos_id_(parts.eos_id),
      adds_bos_(parts.adds_bos) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  for (AddedToken& token : parts.added_tokens) {
    if (token.special) is_special_[static_cast<size_t>(token.id)] = true;
    if (token.normalized && nfc_) token.content = to_nfc(token.content);
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  raw_added_tokens_ = AddedTokenMatcher(std::move(raw));
  normalized_added_tokens_ = AddedTokenMatcher(std::move(normalized));
  for (size_t id = 0; id < whole_piece_.size(); ++id) {
    const auto known = parts.ignore_merges ? WholePiece::yes : WholePiece::unknown;
    whole_piece_[id].store(is_special_[id] ? WholePiece::no : known, std::memory_order_relaxed);
  }
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::build(TokenizerParts parts,
                                                          const std::string& origin) {
  if (const auto index = parts.vocabulary.build_index(); !index.ok())
    return index.error().with_context(origin);
  const MergeList merges = std::move(parts.merges);
  const std::string merges_origin = parts.merges_origin.empty() ? origin : parts.merges_origin;
  const bool drops_unknown_bytes = parts.drops_unknown_bytes;
  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(parts)));
  // A special token never comes out of merging: text that is not allowed to name it cannot spell it
  // either. Where special tokens are parsed this changes nothing, because their contents are cut
  // out first.
  const auto built =
      tokenizer->merger_.build(tokenizer->vocabulary_, merges, tokenizer->is_special_);
  if (!built.ok()) return built.error().with_context(merges_origin);
  if (!drops_unknown_bytes && !tokenizer->merger_.has_all_bytes()) {
    return model_error(
        fmt::format("{}: model.vocab has no token for some bytes, and model.unk_token or "
                    "model.byte_fallback for them is "
                    "not supported",
                    origin));
  }
  return std::shared_ptr<const Tokenizer>(tokenizer);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json_text(std::string_view text,
                                                                   const std::string& origin) {
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, parse_tokenizer_json(text, origin));
  return build(std::move(parts), origin);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json_file(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMaxTokenizerJsonBytes));
  return from_json_text(text, path);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_directory(const std::string& directory) {
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, read_tokenizer_directory(directory));
  return build(std::move(parts), tokenizer_file(directory));
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const Metadata& raw) {
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, parse_gguf_tokenizer(raw));
  return build(std::move(parts), raw.origin());
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool parse_special) const {
  if (text.size() > kMaxTextBytes) return too_long();
  AllowedRanges allowed;
  if (parse_special) allowed.add(0, text.size());
  return Encoding(*this, allowed).run(text);
}

Result<std::vector<int32_t>> Tokenizer::encode(std::span<const TextSpan> spans,
                                               std::string_view template_source) const {
  std::string text;
  AllowedRanges allowed;
  for (const TextSpan& span : spans) {
    if (span.text.size() > kMaxTextBytes - text.size()) return too_long();
    if (span.allow_special) allowed.add(text.size(), text.size() + span.text.size());
    text += span.text;
  }
  Encoding encoding(*this, allowed);
  encoding.reserve(template_source);
  return std::move(encoding).run(text);
}

bool Tokenizer::is_whole_piece(int32_t id, std::string_view piece,
                               BytePairMerger::Workspace& workspace) const {
  std::atomic<WholePiece>& known = whole_piece_[static_cast<size_t>(id)];
  const WholePiece state = known.load(std::memory_order_relaxed);
  if (state != WholePiece::unknown) return state == WholePiece::yes;
  std::vector<int32_t> merged;
  merger_.encode(piece, workspace, merged);
  const bool whole = merged.size() == 1 && merged[0] == id;
  known.store(whole ? WholePiece::yes : WholePiece::no, std::memory_order_relaxed);
  return whole;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  std::string text;
  append_valid_utf8(bytes, text);
  return text;
}

std::optional<int32_t> Tokenizer::id_of(std::string_view content) const noexcept {
  const auto it = added_ids_.find(content);
  if (it == added_ids_.end()) return std::nullopt;
  return it->second;
}

}  // namespace dunlin
