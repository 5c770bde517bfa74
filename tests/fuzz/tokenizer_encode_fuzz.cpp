// Any bytes as text: ids decode to the text made valid, spans without permission equal one text,
// streaming equals decoding at once, and no special token comes from bytes that may not name one.
#include <string>
#include <string_view>

#include "tokenizer/nfc.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

void append_json_character(unsigned code_point, std::string& out) {
  if (code_point == '"' || code_point == '\\') out += '\\';
  append_utf8(code_point, out);
}

// All bytes, a few merges and two special tokens, one the beginning of the other.
std::string tokenizer_json(std::string_view pre_tokenizer, std::string_view normalizer) {
  std::string vocab;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    vocab += '"';
    append_json_character(itself ? byte : next++, vocab);
    vocab += "\":" + std::to_string(byte) + ",";
  }
  vocab += R"("ab":256,"abc":257,"aa":258,"aaaa":259,"Ġa":260,"ĠĠ":261)";
  return std::string(R"({"normalizer":)") + std::string(normalizer) + R"(,"pre_tokenizer":)" +
         std::string(pre_tokenizer) +
         R"(,"decoder":{"type":"ByteLevel"},"added_tokens":[)"
         R"({"id":300,"content":"<|a|>","special":true},{"id":301,"content":"<|a|><","special":true}],)"
         R"("model":{"type":"BPE","vocab":{)" +
         vocab + R"(},"merges":["Ġ Ġ","a a","a b","ab c","aa aa","Ġ a"]}})";
}

std::vector<std::shared_ptr<const Tokenizer>> tokenizers() {
  const std::string gpt2 = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
  const std::string smollm2 =
      R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)" + gpt2 +
      "]}";
  const std::string qwen2 =
      R"({"type":"Sequence","pretokenizers":[)"
      R"({"type":"Split","behavior":"Isolated","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|)"
      R"([^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|)"
      R"(\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},)"
      R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})";
  return {Tokenizer::from_json_text(tokenizer_json(gpt2, "null"), "gpt2").value(),
          Tokenizer::from_json_text(tokenizer_json(smollm2, "null"), "smollm2").value(),
          Tokenizer::from_json_text(tokenizer_json(qwen2, R"({"type":"NFC"})"), "qwen2").value()};
}

void check(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text, size_t cut) {
  const std::vector<int32_t> plain = tokenizer->encode(text, false).value();
  const std::vector<TextSpan> untrusted = {{std::string(text.substr(0, cut)), false},
                                           {std::string(text.substr(cut)), false}};
  DUNLIN_CHECK(tokenizer->encode(untrusted).value() == plain, "spans equal one text");
  for (const int32_t id : plain)
    DUNLIN_CHECK(!tokenizer->is_special(id), "special token without permission");

  const std::vector<int32_t> ids = tokenizer->encode(text, true).value();
  const std::string decoded = tokenizer->decode(ids, false);
  StreamDecoder decoder(tokenizer, false);
  std::string streamed;
  for (const int32_t id : ids) {
    const std::string part = decoder.feed(id);
    DUNLIN_CHECK(is_valid_utf8(part), "streamed text is UTF-8");
    streamed += part;
  }
  DUNLIN_CHECK(streamed + decoder.flush() == decoded, "streaming equals decoding at once");

  std::string valid;
  append_valid_utf8(text, valid);
  const std::string plain_text = tokenizer->decode(plain, false);
  DUNLIN_CHECK(plain_text == valid || plain_text == to_nfc(valid), "round trip");
}

}  // namespace
}  // namespace dunlin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizers = dunlin::tokenizers();
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  const size_t cut = text.empty() ? 0 : (data[0] | size_t{data[1]} << 8) % (text.size() + 1);
  for (const auto& tokenizer : tokenizers) dunlin::check(tokenizer, text, cut);
  return 0;
}
