#include "backend/pjrt/client/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace dunlin::pjrt {

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(calls_, other.calls_);
  std::swap(id_, other.id_);
  return *this;
}

Buffer::~Buffer() {
  if (!empty()) calls_->free_buffer(id_);
}

Result<void> Buffer::download(const TensorType& type, std::span<std::byte> into) const {
  return calls_->download(id_, type, into);
}

Result<uintptr_t> Buffer::address() const {
  return calls_->address(id_);
}

Result<std::vector<std::vector<Buffer>>> LoadedProgram::execute(
    const std::vector<std::vector<BufferId>>& arguments, size_t least) const {
  const std::shared_ptr<PluginCalls>& calls = compiled_.calls();
  DUNLIN_ASSIGN_OR_RETURN(const auto ids, calls->execute(compiled_.id(), arguments));
  std::vector<std::vector<Buffer>> results(ids.size());
  size_t fewest = ids.size() == arguments.size() ? least : 0;
  for (size_t device = 0; device < ids.size(); ++device) {
    for (const BufferId id : ids[device]) results[device].emplace_back(calls, id);
    fewest = std::min(fewest, results[device].size());
  }
  if (fewest >= least) return results;
  return Error{ErrorKind::device,
               fmt::format("{}: execute: {} results on {} devices, but the program has {} on {}",
                           calls->plugin().path, fewest, ids.size(), least, arguments.size())};
}

Result<std::shared_ptr<const Client>> Client::create(std::shared_ptr<PluginCalls> calls,
                                                     int64_t virtual_devices) {
  DUNLIN_ASSIGN_OR_RETURN(ClientFacts facts, calls->open(virtual_devices));
  return std::shared_ptr<const Client>(new Client(std::move(calls), std::move(facts)));
}

std::vector<std::string> Client::device_names() const {
  std::vector<std::string> names;
  for (const DeviceFacts& device : facts_.devices) names.push_back(device.name);
  return names;
}

std::vector<int64_t> Client::device_ids() const {
  std::vector<int64_t> ids;
  for (const DeviceFacts& device : facts_.devices) ids.push_back(device.id);
  return ids;
}

Result<Buffer> Client::upload(const TensorType& type, std::span<const std::byte> data,
                              int64_t device) const {
  DUNLIN_CHECK(std::cmp_equal(data.size(), type.bytes()), "bytes of " + type.text());
  DUNLIN_ASSIGN_OR_RETURN(const BufferId id, calls_->upload(type, data, device));
  return Buffer(calls_, id);
}

Result<Buffer> Client::share(const TensorType& type, const HeldBytes& data, int64_t device) const {
  DUNLIN_CHECK(std::cmp_equal(data.bytes.size(), type.bytes()), "bytes of " + type.text());
  DUNLIN_ASSIGN_OR_RETURN(const BufferId id, calls_->share(type, data, device));
  return Buffer(calls_, id);
}

Result<std::unique_ptr<LoadedProgram>> Client::compile(const std::string& program,
                                                       const CompileSpec& spec) const {
  DUNLIN_ASSIGN_OR_RETURN(const ProgramId id, calls_->compile(program, serialize(spec)));
  return std::make_unique<LoadedProgram>(CompiledProgram(calls_, id));
}

Result<std::unique_ptr<LoadedProgram>> Client::load(const std::string& serialised) const {
  DUNLIN_ASSIGN_OR_RETURN(const ProgramId id, calls_->load_program(serialised));
  return std::make_unique<LoadedProgram>(CompiledProgram(calls_, id));
}

}  // namespace dunlin::pjrt
