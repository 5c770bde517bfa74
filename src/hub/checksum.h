// Checksums as the hub gives them in entity tags: the SHA-256 of a large file, git's SHA-1 of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin {

// git hashes a blob as "blob SIZE\0" and its bytes (gitformat-pack, "object hash").
enum class ChecksumKind { sha256, git_sha1 };

// Of 64 or 40 lowercase hexadecimal digits; nothing for any other text.
std::optional<ChecksumKind> checksum_kind(std::string_view digits);

class Checksum {
 public:
  // `size`: bytes of the whole file. Error (kind runtime): OpenSSL lacks the algorithm, as SHA-1 may be where a policy
  // forbids it.
  static Result<Checksum> create(ChecksumKind kind, uint64_t size);

  void update(std::span<const std::byte> bytes);
  // Lowercase hexadecimal digits. Once; nothing may follow.
  std::string finish();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_ = {};  // EVP_MD_CTX
};

}  // namespace dunlin
