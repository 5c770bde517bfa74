#include "backend/pjrt/isolate/protocol.h"

namespace dunlin::pjrt {
namespace {

template <typename Id>
void put_ids(MessageWriter& into, const std::vector<Id>& ids) {
  into.number(ids.size());
  for (const Id id : ids) put(into, id);
}

template <typename Id>
void take_ids(MessageReader& from, std::vector<Id>& ids) {
  ids.resize(from.count());
  for (Id& id : ids) take(from, id);
}

// Of an error, which another process may have got wrong.
ErrorKind kind_of_number(uint64_t number) {
  const bool known = number >= static_cast<uint64_t>(ErrorKind::runtime) &&
                     number <= static_cast<uint64_t>(ErrorKind::deadline);
  return known ? static_cast<ErrorKind>(number) : ErrorKind::device;
}

}  // namespace

const char* request_name(Request request) {
  switch (request) {
    case Request::load:
      return "load the plug-in";
    case Request::open:
      return "open the device";
    case Request::window:
      return "share memory";
    case Request::upload:
      return "copy an array to the device";
    case Request::download:
      return "copy an array from the device";
    case Request::address:
      return "locate an array";
    case Request::compile:
      return "compile";
    case Request::load_program:
      return "load a compiled program";
    case Request::execute:
      return "execute";
    case Request::memory:
      return "ask a program for its memory";
    case Request::optimised:
      return "ask for the optimised program";
    case Request::serialised:
      return "serialise a program";
    case Request::describe:
      return "describe the devices";
    case Request::compile_for:
      return "compile ahead of time";
  }
  return "an unknown request";
}

bool is_compilation(Request request) {
  return request == Request::compile || request == Request::load_program ||
         request == Request::compile_for;
}

void put(MessageWriter& into, const Error& error) {
  into.number(static_cast<uint64_t>(error.kind)).text(error.message);
}

void take(MessageReader& from, Error& error) {
  error.kind = kind_of_number(from.number());
  error.message = from.text();
}

void put(MessageWriter& into, const TensorType& type) {
  put(into, type.element);
  into.number(type.dims.size());
  for (const int64_t dim : type.dims) into.integer(dim);
}

void take(MessageReader& from, TensorType& type) {
  take(from, type.element);
  type.dims.resize(from.count());
  for (int64_t& dim : type.dims) dim = from.integer();
}

void put(MessageWriter& into, const PluginFacts& facts) {
  into.text(facts.path).text(facts.api_version).number(facts.is_cuda ? 1 : 0);
}

void take(MessageReader& from, PluginFacts& facts) {
  facts.path = from.text();
  facts.api_version = from.text();
  facts.is_cuda = from.number() != 0;
}

void put(MessageWriter& into, const ClientFacts& facts) {
  into.text(facts.platform).text(facts.platform_version).text(facts.device_kind);
  into.number(facts.devices.size());
  for (const DeviceFacts& device : facts.devices) into.text(device.name).integer(device.id);
}

void take(MessageReader& from, ClientFacts& facts) {
  facts.platform = from.text();
  facts.platform_version = from.text();
  facts.device_kind = from.text();
  facts.devices.resize(from.count(2 * sizeof(uint64_t)));
  for (DeviceFacts& device : facts.devices) {
    device.name = from.text();
    device.id = from.integer();
  }
}

void put(MessageWriter& into, const MemoryStats& stats) {
  into.integer(stats.arguments).integer(stats.outputs).integer(stats.aliased);
  into.integer(stats.temporary).integer(stats.code);
}

void take(MessageReader& from, MemoryStats& stats) {
  stats.arguments = from.integer();
  stats.outputs = from.integer();
  stats.aliased = from.integer();
  stats.temporary = from.integer();
  stats.code = from.integer();
}

void put(MessageWriter& into, const TopologyFacts& facts) {
  put(into, facts.id);
  into.integer(facts.devices);
}

void take(MessageReader& from, TopologyFacts& facts) {
  take(from, facts.id);
  facts.devices = from.integer();
}

void put(MessageWriter& into, const FreedIds& freed) {
  put_ids(into, freed.buffers);
  put_ids(into, freed.programs);
  put_ids(into, freed.topologies);
}

void take(MessageReader& from, FreedIds& freed) {
  take_ids(from, freed.buffers);
  take_ids(from, freed.programs);
  take_ids(from, freed.topologies);
}

void put(MessageWriter& into, const std::vector<std::vector<BufferId>>& lists) {
  into.number(lists.size());
  for (const std::vector<BufferId>& list : lists) put_ids(into, list);
}

void take(MessageReader& from, std::vector<std::vector<BufferId>>& lists) {
  lists.resize(from.count());
  for (std::vector<BufferId>& list : lists) take_ids(from, list);
}

void put(MessageWriter& into, const std::vector<std::pair<std::string, std::string>>& pairs) {
  into.number(pairs.size());
  for (const auto& [name, value] : pairs) into.text(name).text(value);
}

void take(MessageReader& from, std::vector<std::pair<std::string, std::string>>& pairs) {
  pairs.resize(from.count(2 * sizeof(uint64_t)));
  for (auto& [name, value] : pairs) {
    name = from.text();
    value = from.text();
  }
}

}  // namespace dunlin::pjrt
