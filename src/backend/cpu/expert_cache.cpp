#include "backend/cpu/expert_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace dunlin::cpu {

ExpertCache::ExpertCache(std::vector<ExpertStack> stacks, int64_t room, int64_t changing)
    : stacks_(std::move(stacks)), room_(room), pin_room_(std::max<int64_t>(0, room - changing)) {
  for (size_t stack = 0; stack < stacks_.size(); ++stack) {
    first_.push_back(entries_.size());
    for (int64_t expert = 0; expert < stacks_[stack].experts; ++expert) {
      order_.push_back(static_cast<uint32_t>(entries_.size()));
      entries_.push_back({.id = {static_cast<int32_t>(stack), static_cast<int32_t>(expert)}});
    }
  }
  for (std::vector<ExpertId>* list : {&reads_, &drops_, &pins_, &unpins_})
    list->reserve(entries_.size());
}

void ExpertCache::choose(int32_t stack, std::span<const int32_t> chosen) noexcept {
  const ExpertStack& layer = stacks_[static_cast<size_t>(stack)];
  Entry* const entries = entries_.data() + first_[static_cast<size_t>(stack)];
  ++turn_;
  reads_.clear();
  drops_.clear();
  for (const int32_t number : chosen)
    use(entries[std::clamp<int64_t>(number, 0, layer.experts - 1)]);
  make_room(/*of_this_turn=*/false);
  std::ranges::sort(reads_, {}, &ExpertId::expert);
  int64_t over = held_bytes_ - room_;
  while (over > 0 && !reads_.empty()) {
    over -= layer.bytes;
    reads_.pop_back();
  }
}

void ExpertCache::use(Entry& entry) noexcept {
  if (entry.turn == turn_) return;  // of another row
  entry.turn = turn_;
  if (entry.uses < std::numeric_limits<uint32_t>::max()) ++entry.uses;
  ++uses_;
  if (entry.held) {
    ++hits_;
    return;
  }
  entry.held = true;
  held_bytes_ += bytes_of(entry);
  reads_.push_back(entry.id);
}

void ExpertCache::leave() noexcept {
  drops_.clear();
  make_room(/*of_this_turn=*/true);
}

void ExpertCache::make_room(bool of_this_turn) noexcept {
  while (held_bytes_ > room_) {
    Entry* const cold = victim(of_this_turn);
    if (cold == nullptr) return;
    cold->held = false;
    held_bytes_ -= bytes_of(*cold);
    drops_.push_back(cold->id);
  }
}

ExpertCache::Entry* ExpertCache::victim(bool of_this_turn) noexcept {
  Entry* coldest = nullptr;
  for (Entry& entry : entries_) {
    if (!entry.held || entry.pinned || (entry.turn == turn_ && !of_this_turn)) continue;
    const bool colder = coldest == nullptr || entry.uses < coldest->uses ||
                        (entry.uses == coldest->uses && entry.turn < coldest->turn);
    if (colder) coldest = &entry;
  }
  return coldest;
}

void ExpertCache::repin() noexcept {
  pins_.clear();
  unpins_.clear();
  // Of equally many uses those that are pinned stay so.
  std::ranges::sort(order_, [this](uint32_t a, uint32_t b) {
    const Entry& left = entries_[a];
    const Entry& right = entries_[b];
    if (left.uses != right.uses) return left.uses > right.uses;
    if (left.pinned != right.pinned) return left.pinned;
    return a < b;
  });
  pinned_bytes_ = 0;
  for (const uint32_t number : order_) {
    Entry& entry = entries_[number];
    const int64_t bytes = bytes_of(entry);
    const bool pin = entry.held && entry.uses > 0 && pinned_bytes_ + bytes <= pin_room_;
    if (pin) pinned_bytes_ += bytes;
    if (pin && !entry.pinned) pins_.push_back(entry.id);
    if (!pin && entry.pinned) unpins_.push_back(entry.id);
    entry.pinned = pin;
    entry.uses /= 2;
  }
}

}  // namespace dunlin::cpu
