// StreamDecoder: whatever way the bytes are cut into tokens, the pieces are complete UTF-8 and
// together the whole.
#include "tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include "golden_data.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer, std::span<const int32_t> ids,
                   bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = decoder.feed(id);
    EXPECT_TRUE(is_valid_utf8(part));
    text += part;
  }
  return text + decoder.flush();
}

int32_t byte_token(const Tokenizer& tokenizer, unsigned char byte) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.token_bytes(id) == std::string(1, static_cast<char>(byte))) return id;
  }
  ADD_FAILURE() << "no token for byte " << int{byte};
  return -1;
}

TEST(StreamDecoder, EqualsDecodingAtOnce) {
  for (const std::string& name : kSmallTokenizers) {
    const auto tokenizer = small_tokenizer(name);
    for (const std::string& text : corpus()) {
      const auto ids = encode(*tokenizer, text);
      for (const bool skip : {false, true})
        EXPECT_EQ(stream(tokenizer, ids, skip), tokenizer->decode(ids, skip));
    }
  }
}

// Every sequence of up to four of these bytes, one token per byte: all ways to begin, cut and break
// a character.
TEST(StreamDecoder, EqualsDecodingAtOnceForEverySequenceOfCriticalBytes) {
  const auto tokenizer = small_tokenizer("small_qwen2");
  std::vector<int32_t> byte_ids;
  for (const int byte : {0x41, 0x80, 0xA0, 0xBF, 0xC1, 0xC3, 0xE0, 0xE4, 0xED, 0xF0, 0xF4, 0xFF}) {
    byte_ids.push_back(byte_token(*tokenizer, static_cast<unsigned char>(byte)));
  }
  const size_t base = byte_ids.size();
  size_t sequences = 1;
  for (size_t length = 1; length <= 4; ++length) {
    sequences *= base;
    for (size_t code = 0; code < sequences; ++code) {
      std::vector<int32_t> ids;
      for (size_t i = 0, rest = code; i < length; ++i, rest /= base)
        ids.push_back(byte_ids[rest % base]);
      ASSERT_EQ(stream(tokenizer, ids, false), tokenizer->decode(ids, false))
          << testing::PrintToString(ids);
    }
  }
}

TEST(StreamDecoder, HoldsBackACutCharacterAndGivesItWhole) {
  const auto tokenizer = small_tokenizer("small_gpt2");
  std::vector<int32_t> bytes;
  for (const char byte :
       std::string("\U00010384")) {  // a letter that the training text does not have
    const auto it = [&] {
      for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
        if (tokenizer->token_bytes(id) == std::string_view(&byte, 1)) return id;
      }
      return -1;
    }();
    ASSERT_GE(it, 0);
    bytes.push_back(it);
  }
  StreamDecoder decoder(tokenizer, false);
  EXPECT_EQ(decoder.feed(bytes[0]), "");
  EXPECT_EQ(decoder.feed(bytes[1]), "");
  EXPECT_EQ(decoder.feed(bytes[2]), "");
  EXPECT_EQ(decoder.feed(bytes[3]), "\U00010384");
  EXPECT_EQ(decoder.feed(bytes[0]), "");
  EXPECT_EQ(decoder.flush(), "\uFFFD");
  EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamDecoder, UnknownIdsGiveNothing) {
  StreamDecoder decoder(small_tokenizer("small_gpt2"), false);
  for (const int32_t id : {-1, INT32_MIN, 1 << 20, INT32_MAX}) EXPECT_EQ(decoder.feed(id), "");
}

}  // namespace
}  // namespace dunlin
