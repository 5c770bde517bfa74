#include "tokenizer/harmony/marks.h"

namespace dunlin::harmony {

std::vector<int32_t> Marks::stop_ids() const {
  std::vector<int32_t> ids = {return_, call};
  if (end_of_text.has_value()) ids.push_back(*end_of_text);
  return ids;
}

std::optional<Marks> find_marks(const Tokenizer& tokenizer) {
  Marks marks;
  bool complete = true;
  const auto find = [&](std::string_view content, int32_t& id) {
    const auto found = tokenizer.id_of(content);
    complete = complete && found.has_value();
    id = found.value_or(0);
  };
  find(kStart, marks.start);
  find(kChannel, marks.channel);
  find(kConstrain, marks.constrain);
  find(kMessage, marks.message);
  find(kEnd, marks.end);
  find(kReturn, marks.return_);
  find(kCall, marks.call);
  if (!complete) return std::nullopt;
  marks.end_of_text = tokenizer.id_of("<|endoftext|>");
  return marks;
}

}  // namespace dunlin::harmony
