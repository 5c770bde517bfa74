// ExpertCache: which experts of a mixture are held in memory, when not all can be. Bookkeeping alone: it
// names the experts whose pages are to be read, given back, kept or let go.
//
// An expert that a step chooses is held from then on. When those that are held are more than the room,
// the ones that were chosen least often give way, of equally many the one whose turn is longest ago.
// repin() halves the counts, so that what a conversation no longer uses is forgotten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dunlin::cpu {

// The experts of one layer.
struct ExpertStack {
  int64_t experts = 0;
  int64_t bytes = 0;  // of one: its three matrices
};

struct ExpertId {
  int32_t stack = 0;
  int32_t expert = 0;

  friend bool operator==(const ExpertId&, const ExpertId&) = default;
};

class ExpertCache {
 public:
  // `room`: bytes of experts that memory may hold. `changing`: of these, the bytes that pinned experts
  // leave to the others.
  ExpertCache(std::vector<ExpertStack> stacks, int64_t room, int64_t changing);

  // Nothing here allocates. The lists of a call are valid until the next call that makes the same list.

  // A step is about to compute with a layer's experts: `chosen` are the choices of its rows, in any
  // order; numbers that no expert has count as the nearest, as in ExpertGroups. Makes reads() and
  // drops(). A layer of which more are chosen than there is room for holds them until leave(); those
  // beyond the room are not in reads(), as reading them ahead would push out others before their use.
  void choose(int32_t stack, std::span<const int32_t> chosen) noexcept;
  // The step has computed with them. Makes drops().
  void leave() noexcept;
  // Of the held experts those that were chosen most are pinned: they never give way until another call
  // finds others. Makes pins() and unpins(), what has changed.
  void repin() noexcept;

  std::span<const ExpertId> reads() const { return reads_; }  // in the order of experts
  std::span<const ExpertId> drops() const { return drops_; }
  std::span<const ExpertId> pins() const { return pins_; }
  std::span<const ExpertId> unpins() const { return unpins_; }

  bool held(const ExpertId& id) const { return entry(id).held; }
  bool pinned(const ExpertId& id) const { return entry(id).pinned; }
  int64_t held_bytes() const { return held_bytes_; }
  int64_t pinned_bytes() const { return pinned_bytes_; }
  int64_t experts() const { return static_cast<int64_t>(entries_.size()); }
  // Choices of an expert by a step, however many of its rows made it; and those of one that was held.
  int64_t uses() const { return uses_; }
  int64_t hits() const { return hits_; }

 private:
  struct Entry {
    ExpertId id;
    uint32_t uses = 0;  // decayed
    uint64_t turn = 0;  // of the last choice
    bool held = false;
    bool pinned = false;
  };

  const Entry& entry(const ExpertId& id) const {
    return entries_[first_[static_cast<size_t>(id.stack)] + static_cast<size_t>(id.expert)];
  }
  int64_t bytes_of(const Entry& entry) const {
    return stacks_[static_cast<size_t>(entry.id.stack)].bytes;
  }
  void use(Entry& entry) noexcept;
  // Drops experts until the others fit, those of this turn only where it says so.
  void make_room(bool of_this_turn) noexcept;
  Entry* victim(bool of_this_turn) noexcept;

  std::vector<ExpertStack> stacks_;
  int64_t room_;
  int64_t pin_room_;
  std::vector<size_t> first_ = {};    // of each stack in entries_
  std::vector<Entry> entries_ = {};   // by stack and expert
  std::vector<uint32_t> order_ = {};  // of entries_, while pinning
  std::vector<ExpertId> reads_ = {}, drops_ = {}, pins_ = {}, unpins_ = {};
  uint64_t turn_ = 0;
  int64_t held_bytes_ = 0;
  int64_t pinned_bytes_ = 0;
  int64_t uses_ = 0;
  int64_t hits_ = 0;
};

}  // namespace dunlin::cpu
