#include "hub/checksum.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

namespace dunlin {
namespace {

EVP_MD_CTX* context_of(void* pointer) {
  return static_cast<EVP_MD_CTX*>(pointer);
}

}  // namespace

void Checksum::Free::operator()(void* context) const {
  EVP_MD_CTX_free(context_of(context));
}

std::optional<ChecksumKind> checksum_kind(std::string_view digits) {
  const bool hexadecimal = std::ranges::all_of(
      digits, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (hexadecimal && digits.size() == 64) return ChecksumKind::sha256;
  if (hexadecimal && digits.size() == 40) return ChecksumKind::git_sha1;
  return std::nullopt;
}

Result<Checksum> Checksum::create(ChecksumKind kind, uint64_t size) {
  Checksum checksum;
  checksum.context_.reset(EVP_MD_CTX_new());
  if (checksum.context_ == nullptr) return out_of_memory();
  const bool sha256 = kind == ChecksumKind::sha256;
  EVP_MD_CTX* const context = context_of(checksum.context_.get());
  if (EVP_DigestInit_ex(context, sha256 ? EVP_sha256() : EVP_sha1(), nullptr) != 1)
    return runtime_error(fmt::format("OpenSSL has no {}", sha256 ? "SHA-256" : "SHA-1"));
  if (!sha256) {
    const std::string header = fmt::format("blob {}", size);
    EVP_DigestUpdate(context, header.c_str(), header.size() + 1);  // with its terminating zero
  }
  return checksum;
}

void Checksum::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(context_of(context_.get()), bytes.data(), bytes.size());
}

std::string Checksum::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned length = 0;
  EVP_DigestFinal_ex(context_of(context_.get()), digest.data(), &length);
  std::string digits;
  for (unsigned i = 0; i < length; ++i) digits += fmt::format("{:02x}", digest[i]);
  return digits;
}

}  // namespace dunlin
