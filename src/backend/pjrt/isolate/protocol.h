// The messages between RemoteCalls and PluginHost: a request for each function of PluginCalls, with what
// nobody holds any more before its fields, and an answer of the same kind: 1 and what was asked for, or 0
// and an error. Arrays do not go through the socket but lie in memory that both see: a window, which a
// request of its own puts in place.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/pjrt/client/plugin_calls.h"
#include "backend/pjrt/isolate/message.h"
#include "base/result.h"

namespace dunlin::pjrt {

enum class Request : uint32_t {
  load = 1,      // path -> PluginFacts
  open,          // virtual devices -> ClientFacts
  window,        // bytes, and a descriptor behind the message -> nothing
  upload,        // type, device; the array in the window -> buffer
  download,      // buffer, type -> the array in the window
  address,       // buffer -> number
  compile,       // text, options -> program
  load_program,  // bytes -> program
  execute,       // program, lists of buffers -> lists of buffers
  memory,        // program -> MemoryStats
  optimised,     // program -> bytes
  serialised,    // program -> bytes
  describe,      // name, pairs of texts -> TopologyFacts
  compile_for,   // topology, text, options -> program
};

// For people, of a number that may be none: "open the device", "execute".
const char* request_name(Request request);
// Whether it may take as long as a compiler.
bool is_compilation(Request request);

// What is to be freed: sent with the next request, as an array or program that is gone need not wait for
// an answer, and a step drops dozens. Numbers are those of LocalCalls, which gives none out again before
// it was freed, so one that waits here is nobody else's.
struct FreedIds {
  std::vector<BufferId> buffers = {};
  std::vector<ProgramId> programs = {};
  std::vector<TopologyId> topologies = {};
};

void put(MessageWriter& into, const Error& error);
void put(MessageWriter& into, const TensorType& type);
void put(MessageWriter& into, const PluginFacts& facts);
void put(MessageWriter& into, const ClientFacts& facts);
void put(MessageWriter& into, const MemoryStats& stats);
void put(MessageWriter& into, const TopologyFacts& facts);
void put(MessageWriter& into, const FreedIds& freed);
void put(MessageWriter& into, const std::vector<std::vector<BufferId>>& lists);
void put(MessageWriter& into, const std::vector<std::pair<std::string, std::string>>& pairs);
inline void put(MessageWriter& into, const std::string& text) {
  into.text(text);
}
inline void put(MessageWriter& into, uint64_t number) {
  into.number(number);
}
template <typename Id>
  requires std::is_enum_v<Id>
void put(MessageWriter& into, Id id) {
  into.number(static_cast<uint64_t>(id));
}

// What put() wrote; something empty where it is not there, which MessageReader::is_complete() tells.
void take(MessageReader& from, Error& error);
void take(MessageReader& from, TensorType& type);
void take(MessageReader& from, PluginFacts& facts);
void take(MessageReader& from, ClientFacts& facts);
void take(MessageReader& from, MemoryStats& stats);
void take(MessageReader& from, TopologyFacts& facts);
void take(MessageReader& from, FreedIds& freed);
void take(MessageReader& from, std::vector<std::vector<BufferId>>& lists);
void take(MessageReader& from, std::vector<std::pair<std::string, std::string>>& pairs);
inline void take(MessageReader& from, std::string& text) {
  text = from.text();
}
inline void take(MessageReader& from, uint64_t& number) {
  number = from.number();
}
template <typename Id>
  requires std::is_enum_v<Id>
void take(MessageReader& from, Id& id) {
  id = static_cast<Id>(from.number());
}

}  // namespace dunlin::pjrt
