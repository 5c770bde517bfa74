#include "backend/pjrt/client/compiled_program.h"

namespace dunlin::pjrt {

CompiledProgram& CompiledProgram::operator=(CompiledProgram&& other) noexcept {
  std::swap(calls_, other.calls_);
  std::swap(id_, other.id_);
  return *this;
}

CompiledProgram::~CompiledProgram() {
  if (id_ != ProgramId::none) calls_->free_program(id_);
}

Result<std::unique_ptr<Topology>> Topology::create(
    std::shared_ptr<PluginCalls> calls, const std::string& name,
    const std::vector<std::pair<std::string, std::string>>& options) {
  DUNLIN_ASSIGN_OR_RETURN(const TopologyFacts facts, calls->describe(name, options));
  return std::unique_ptr<Topology>(new Topology(std::move(calls), facts));
}

Topology::~Topology() {
  calls_->free_topology(facts_.id);
}

Result<CompiledProgram> Topology::compile(const std::string& program,
                                          const CompileSpec& spec) const {
  DUNLIN_ASSIGN_OR_RETURN(const ProgramId id,
                          calls_->compile_for(facts_.id, program, serialize(spec)));
  return CompiledProgram(calls_, id);
}

}  // namespace dunlin::pjrt
