#include "engine/session_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "checkpoint/fingerprint.h"

namespace dunlin {
namespace {

constexpr const char* kTokens = "kv.tokens";
// 4 bytes each: more than any context has.
constexpr uint64_t kMostTokenBytes = 1u << 30;

std::string chunk_of(size_t group) {
  return fmt::format("kv.{}", group);
}

int64_t pages_for(size_t tokens) {
  return (static_cast<int64_t>(tokens) + kPageTokens - 1) / kPageTokens;
}

// Page numbers of the slot in each group; nothing where one is missing.
std::optional<std::vector<std::vector<int32_t>>> pages_of(const KvCache& cache, int32_t slot,
                                                          size_t groups) {
  std::vector<std::vector<int32_t>> pages(groups);
  const auto wanted = static_cast<size_t>(pages_for(cache.tokens(slot).size()));
  for (size_t group = 0; group < groups; ++group) {
    KvTable table;
    cache.table(std::span(&slot, 1), static_cast<int32_t>(group), table);
    if (table.pages.size() < wanted) return std::nullopt;
    pages[group].assign(table.pages.begin(), table.pages.begin() + static_cast<ptrdiff_t>(wanted));
    if (std::ranges::find(pages[group], -1) != pages[group].end()) return std::nullopt;
  }
  return pages;
}

Result<std::vector<int32_t>> read_tokens(const ArtifactReader& reader) {
  DUNLIN_ASSIGN_OR_RETURN(const auto bytes, reader.read(kTokens, kMostTokenBytes));
  if (bytes.empty() || bytes.size() % sizeof(int32_t) != 0)
    return runtime_error(fmt::format("{}: {} is not a list of tokens", reader.name(), kTokens));
  std::vector<int32_t> tokens(bytes.size() / sizeof(int32_t));
  std::memcpy(tokens.data(), bytes.data(), bytes.size());
  return tokens;
}

// Hands the pages of a chunk to `take` one by one, whatever pieces they come in.
template <typename F>
Result<void> for_each_page(const ArtifactReader& reader, const std::string& chunk, uint64_t bytes,
                           F&& take) {
  std::vector<std::byte> page;
  page.reserve(bytes);
  return reader.stream(chunk, [&](std::span<const std::byte> piece) -> Result<void> {
    while (!piece.empty()) {
      const auto part = piece.first(std::min(piece.size(), bytes - page.size()));
      page.insert(page.end(), part.begin(), part.end());
      piece = piece.subspan(part.size());
      if (page.size() == bytes) {
        take(std::span<const std::byte>(page));
        page.clear();
      }
    }
    return {};
  });
}

size_t groups_of(const KvState& state) {
  return static_cast<size_t>(state.groups());
}

}  // namespace

Result<std::string> sequence_key(const Model& model, const KvState& state) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string weights, fingerprint(*model.checkpoint));
  return fmt::format("model {}\nprogram {}\nprecision {}\nKV layout {}, pages of {}\n", weights,
                     to_string(content_hash(model.program)),
                     precision_name(model.options.precision), state.layout(), kPageTokens);
}

bool has_sequence(const ArtifactReader& reader) {
  return reader.find(kTokens) != nullptr;
}

Result<int64_t> write_sequence(ArtifactWriter& writer, const KvCache& cache, int32_t slot,
                               const KvState& state) {
  if (state.layout().empty()) return 0;
  const auto tokens = cache.tokens(slot);
  const auto pages = pages_of(cache, slot, groups_of(state));
  if (tokens.empty() || !pages) return 0;
  DUNLIN_RETURN_IF_ERROR(writer.begin_chunk(kTokens));
  DUNLIN_RETURN_IF_ERROR(writer.append(std::as_bytes(tokens)));
  for (size_t group = 0; group < pages->size(); ++group) {
    const auto index = static_cast<int32_t>(group);
    std::vector<std::byte> bytes(state.page_bytes(index));
    DUNLIN_RETURN_IF_ERROR(writer.begin_chunk(chunk_of(group)));
    for (const int32_t page : (*pages)[group]) {
      state.save_page(index, page, bytes);
      DUNLIN_RETURN_IF_ERROR(writer.append(bytes));
    }
  }
  return std::ssize(tokens);
}

Result<void> check_sequence(const ArtifactReader& reader, const KvState& state) {
  if (state.layout().empty())
    return runtime_error(reader.name() + ": this back end cannot load a KV cache");
  DUNLIN_ASSIGN_OR_RETURN(const auto tokens, read_tokens(reader));
  for (size_t group = 0; group < groups_of(state); ++group) {
    const std::string name = chunk_of(group);
    const ArtifactChunk* const chunk = reader.find(name);
    const uint64_t bytes = state.page_bytes(static_cast<int32_t>(group));
    if (chunk == nullptr || chunk->bytes != static_cast<uint64_t>(pages_for(tokens.size())) * bytes)
      return runtime_error(fmt::format("{}: {} does not have the pages of {} tokens", reader.name(),
                                       name, tokens.size()));
    DUNLIN_RETURN_IF_ERROR(
        reader.stream(name, [](std::span<const std::byte>) -> Result<void> { return {}; }));
  }
  return {};
}

Result<int32_t> read_sequence(const ArtifactReader& reader, KvCache& cache, KvState& state) {
  DUNLIN_ASSIGN_OR_RETURN(const auto tokens, read_tokens(reader));
  DUNLIN_ASSIGN_OR_RETURN(const KvCache::Opened opened, cache.open({}));
  const auto give_up = [&](const Error& error) {
    cache.close(opened.slot);
    return error;
  };
  const auto reserved = cache.reserve(opened.slot, std::ssize(tokens));
  if (!reserved.ok()) return give_up(reserved.error());
  for (size_t group = 0; group < groups_of(state); ++group) {
    const auto index = static_cast<int32_t>(group);
    KvTable table;
    cache.table(std::span(&opened.slot, 1), index, table);
    auto page = table.pages.begin();
    const auto loaded = for_each_page(reader, chunk_of(group), state.page_bytes(index),
                                      [&](std::span<const std::byte> bytes) {
                                        if (page != table.pages.end())
                                          state.load_page(index, *page++, bytes);
                                      });
    if (!loaded.ok()) return give_up(loaded.error());
  }
  // Nobody knows any more which rows a cold prompt would reproduce, so no other sequence shares them.
  cache.commit(opened.slot, tokens, RowClass::generated);
  return opened.slot;
}

}  // namespace dunlin
