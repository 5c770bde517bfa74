// Messages about memory, processors, devices, stdout and the scripts.
#include <sys/resource.h>

#include <filesystem>

#include "backend/cpu/isa.h"
#include "support/text_model_folder.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

// What `dunlin` prints on a processor that is not this one.
ProcessResult refusal(Isa wanted, const CpuFeatures& features) {
  const auto chosen = cpu::choose_isa(isa_name(wanted), "DUNLIN_ISA", features);
  if (chosen.ok()) return {};
  return {.code = static_cast<int>(chosen.error().kind),
          .out = {},
          .err = "error: " + chosen.error().message + "\n"};
}

void limit_memory() {
  const rlimit limit = {rlim_t{1} << 30, rlim_t{1} << 30};
  ::setrlimit(RLIMIT_AS, &limit);
}

// With AMX, which the operating system does not give.
CpuFeatures refused_tiles() {
  CpuFeatures features;
  features.best = Isa::avx512;
  features.tile_refusal = "Operation not permitted";
  for (const Isa isa : isas_up_to(Isa::amx)) {
    for (const std::string_view flag : required_flags(isa)) features.flags.emplace_back(flag);
  }
  return features;
}

// With a variable that says of gpu that it has no plug-in, whatever is installed.
ProcessResult run_on_device(const TemporaryFolder& folder, const std::string& device) {
  return run_hello(text_model(folder), {"--backend", "pjrt", "--device", device},
                   {.environment = {{"PJRT_NAMES_AND_LIBRARY_PATHS", "gpu:"}}});
}

// Without a package index.
ProcessResult fetch_model(const TemporaryFolder& folder,
                          std::map<std::string, std::string> environment) {
  environment.insert({{"DUNLIN_CACHE", folder.path()},
                      {"PIP_CONFIG_FILE", "/dev/null"},
                      {"PIP_FIND_LINKS", ""},
                      {"PIP_NO_INDEX", "1"}});
  return run_program(DUNLIN_SOURCE_DIR "/scripts/fetch-model", {},
                     {.environment = std::move(environment)});
}

std::vector<MessageCase> memory_and_processor_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <what>: cannot reserve <n> bytes (<n> GiB): <reason>",
       [](Folder folder) {
         // 3.2 GB of KV cache.
         return run_hello(model_with_config(folder, {{"max_position_embeddings", 1 << 20}}),
                          {"-c", "1m", "--parallel", "8", "-t", "1"}, {.prepare = limit_memory});
       },
       // A sanitizer needs more itself.
       !DUNLIN_SANITIZED},
      {"error: a KV cache of <n> positions needs <n> GiB, and this process can have <n> GiB of "
       "memory",
       [](Folder folder) {
         // 420 TB.
         return run_hello(model_with_config(folder, {{"max_position_embeddings", 1 << 30}}),
                          {"-c", "1024m", "--parallel", "1024"});
       }},
      {"batch <n> does not fit: <reason>",
       [](Folder folder) {
         // Logits of 524,288 tokens: 1.3 GB.
         return run_dunlin({"bench", "forward", text_model(folder), "--batch", "1,1024",
                            "--seq-len", "512", "--logits", "all", "-t", "1", "-r", "1"},
                           {.prepare = limit_memory});
       },
       !DUNLIN_SANITIZED},
      {"error: DUNLIN_ISA: \"<name>\" is no instruction set; this machine has <names>",
       [](Folder folder) {
         return run_hello(text_model(folder), {}, {.environment = {{"DUNLIN_ISA", "mmx"}}});
       }},
      {"error: DUNLIN_ISA: <name> is not available: the processor lacks <flags>; this machine has "
       "<names>",
       [](Folder) { return refusal(Isa::avx512, CpuFeatures{}); }},
      {"error: DUNLIN_ISA: amx is not available: the operating system refuses AMX tiles: <reason>; "
       "this machine has <names>",
       [](Folder) { return refusal(Isa::amx, refused_tiles()); }},
      {"error: <file>: is there and is no dump of verify",
       [](Folder folder) {
         write_all(folder.file("notes.txt"), "Notes");
         return run_dunlin({"verify", test_data("data/llama_plain/model"), "--ref",
                            test_data("data/llama_plain/golden.safetensors"), "--dump",
                            folder.file("notes.txt")});
       }},
      {"error: stdout: No space left on device",
       [](Folder folder) { return run_hello(text_model(folder), {}, {.output = "/dev/full"}); }},
  };
}

ProcessResult compile_for(const std::string& config, const std::string& topology) {
  return run_dunlin(
      {"compile", DUNLIN_SOURCE_DIR "/docs/planning/" + config, "--topology", topology});
}

ProcessResult run_with_programs_in(const TemporaryFolder& folder, const std::string& programs) {
  return run_hello(text_model(folder), {"--backend", "pjrt"},
                   {.environment = {{"DUNLIN_COMPILE_CACHE", programs}}});
}

// With a plug-in in which a call goes wrong (tests/pjrt/faulty_plugin.cpp).
ProcessResult run_with_fault(const TemporaryFolder& folder, const std::string& fault,
                             std::vector<std::string> more) {
  more.insert(more.end(), {"--backend", "pjrt", "--device", DUNLIN_FAULTY_PLUGIN, "--isolate"});
  return run_hello(text_model(folder), more, {.environment = {{"DUNLIN_TEST_FAULT", fault}}});
}

std::vector<MessageCase> device_messages() {
  using Folder = const TemporaryFolder&;
  constexpr bool kHasPjrt = DUNLIN_HAS_PJRT != 0;
  return {
      {"error: --device <name> needs --backend pjrt",
       [](Folder folder) { return run_hello(text_model(folder), {"--device", "gpu"}); }},
      {"error: --device <name>: no plug-in found; scripts/fetch-pjrt <name> fetches one",
       [](Folder folder) { return run_on_device(folder, "gpu"); }, kHasPjrt},
      {"error: --device <name>: unknown (<names>, or the path of a plug-in)",
       [](Folder folder) { return run_on_device(folder, "npu"); }, kHasPjrt},
      {"error: --mesh <mesh> needs --backend pjrt",
       [](Folder folder) { return run_hello(text_model(folder), {"--mesh", "model=2"}); }},
      {"error: mesh <mesh>: the pjrt back end splits over data, expert and model, not over <name>",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--backend", "pjrt", "--mesh", "stage=2"});
       },
       kHasPjrt},
      {"error: --mesh <mesh>: <n> devices, but <name> has <n>",
       [](Folder folder) {
         return run_hello(text_model(folder),
                          {"--backend", "pjrt", "--device", DUNLIN_CPU_PLUGIN, "--mesh", "data=5"});
       },
       kHasPjrt},
      {"error: --xla-option <option> needs --backend pjrt",
       [](Folder folder) { return run_hello(text_model(folder), {"--xla-option", "x=1"}); }},
      {"error: --steps-per-call <n> needs --backend pjrt",
       [](Folder folder) { return run_hello(text_model(folder), {"--steps-per-call", "4"}); }},
      {"error: --steps-per-call <n>: --watch looks at every step; leave one out",
       [](Folder folder) {
         return run_hello(text_model(folder),
                          {"--backend", "pjrt", "--steps-per-call", "4", "--watch", "layers.*"});
       }},
      {"error: --isolate needs --backend pjrt",
       [](Folder folder) { return run_hello(text_model(folder), {"--isolate"}); }},
      {"error: --isolate-timeout <n> needs --isolate",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--backend", "pjrt", "--isolate-timeout", "5"});
       }},
      {"error: <file>: <what>: the process of the plug-in ended with <how>",
       [](Folder folder) { return run_with_fault(folder, "open 1 abort", {}); }, kHasPjrt},
      {"error: <file>: <what>: the process of the plug-in gave no answer within <n> s "
       "(--isolate-timeout)",
       [](Folder folder) {
         return run_with_fault(folder, "open 1 hang", {"--isolate-timeout", "2"});
       },
       kHasPjrt},
      {"warning: <file> takes no layout of the KV cache and chooses its own, which loops may copy: "
       "<problem>",
       [](Folder folder) { return run_with_fault(folder, "compile 1 refuse", {}); }, kHasPjrt},
      {"error: --xla-option: <file>: compile: <problem>",
       [](Folder folder) {
         return run_hello(text_model(folder),
                          {"--backend", "pjrt", "--xla-option", "xla_no_such_option=1"});
       },
       kHasPjrt},
      {"warning: compiled programs are not kept: <problem>",
       [](Folder folder) {
         write_all(folder.file("notes.txt"), "Notes");
         return run_with_programs_in(folder, folder.file("notes.txt"));
       },
       kHasPjrt},
      {"warning: a program is compiled again: <problem>",
       [](Folder folder) {
         const std::string programs = folder.file("programs");
         run_with_programs_in(folder, programs);
         for (const auto& entry : std::filesystem::directory_iterator(programs))
           std::filesystem::resize_file(entry.path(), 100);
         return run_with_programs_in(folder, programs);
       },
       kHasPjrt},
      {"warning: <formats> weights are held as <name> by <what>: no packed form of them passes "
       "there "
       "(docs/decisions/0011-packed-weights.md)",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--backend", "pjrt", "--quantize", "F8_E4M3"});
       },
       kHasPjrt},
      {"error: --topology <name>: unknown (h100, h200, or TPUs with their grid, such as v5e:1x1)",
       [](Folder) { return compile_for("llama-3.2-1b.json", "v5e"); }, kHasPjrt},
      {"error: --topology <name>: it has <n> devices, and --mesh <mesh> has <n>",
       [](Folder) { return compile_for("llama-3.2-1b.json", "v5e:4x4"); }, kHasPjrt},
      {"error: --topology <name>: needs <n> GiB, <n> GiB more than the <n> GiB of a device "
       "(weights of <n> GiB, a KV cache of <n> GiB)",
       [](Folder) { return compile_for("llama-3.1-70b.json", "h100"); }, kHasPjrt},
      {"error: --only <pattern>: no program has such a name; there are <names>",
       [](Folder folder) { return run_dunlin({"compile", text_model(folder), "--only", "9x9*"}); },
       kHasPjrt},
      {"error: --quantize <name>: no number format of weights (known: <names>)",
       [](Folder) {
         return run_dunlin({"compile", DUNLIN_SOURCE_DIR "/docs/planning/llama-3.2-1b.json",
                            "--quantize", "int3"});
       }},
      {"error: <file>: not a PJRT plug-in (it has no function GetPjrtApi)",
       [](Folder folder) { return run_on_device(folder, DUNLIN_OTHER_LIBRARY); }, kHasPjrt},
      {"error: <file>: PJRT API <version>, but this build needs <version> or a later <version>",
       [](Folder folder) { return run_on_device(folder, DUNLIN_OTHER_PLUGIN); }, kHasPjrt},
      {"error: this build has no PJRT back end: configure with -DDUNLIN_WITH_PJRT=ON",
       [](Folder folder) { return run_on_device(folder, "gpu"); }, !kHasPjrt},
  };
}

std::vector<MessageCase> script_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: could not download <name> (set DUNLIN_MODEL to use a model of your own)",
       [](Folder folder) { return fetch_model(folder, {{"DUNLIN_MODEL", ""}}); }},
      {"== <file> is damaged: fetching it again",
       [](Folder folder) {
         std::filesystem::create_directory(folder.file("models"));
         write_all(folder.file("models/SmolLM2-135M-Instruct.Q4_1.gguf"), "GGUF");
         return fetch_model(folder, {{"DUNLIN_MODEL", ""}});
       }},
      {"error: DUNLIN_MODEL names <file>, which does not exist",
       [](Folder folder) {
         return fetch_model(folder, {{"DUNLIN_MODEL", folder.file("none.gguf")}});
       }},
  };
}

}  // namespace

std::vector<MessageCase> machine_messages() {
  std::vector<MessageCase> all = memory_and_processor_messages();
  for (const auto& more : {device_messages(), script_messages()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace dunlin
