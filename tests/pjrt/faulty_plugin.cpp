// A PJRT plug-in for tests: another one (REAL_PLUGIN), in which one call goes wrong. The variable
// DUNLIN_TEST_FAULT says which and how: "CALL NUMBER ACTION", as in "compile 2 abort"; without it nothing
// goes wrong. CALL is load, open, upload, download, compile, load_program or execute, NUMBER counts the
// calls from 1, and ACTION is
//   hang    wait for ever
//   abort   end the process with SIGABRT
//   exit    end the process with exit code 3
//   fail    give an error of RESOURCE_EXHAUSTED
//   note    nothing
// Before that the process writes its number and its parent's to the file that DUNLIN_TEST_FAULT_FILE
// names, if any. Where DUNLIN_TEST_FAULT_START names a file, calls count once it is there.
#include <dlfcn.h>
#include <pjrt_c_api.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

const PJRT_Api* g_real = nullptr;

struct Fault {
  char call[32] = {};
  int number = 0;
  char action[32] = {};
};

Fault read_fault() {
  Fault fault;
  const char* const text = std::getenv("DUNLIN_TEST_FAULT");
  if (text == nullptr) return fault;
  if (std::sscanf(text, "%31s %d %31s", fault.call, &fault.number, fault.action) == 3) return fault;
  std::fprintf(stderr, "DUNLIN_TEST_FAULT: %s\n", text);
  std::abort();
}

const Fault& fault() {
  static const Fault kFault = read_fault();
  return kFault;
}

// The file appears at once, by renaming.
void note_process() {
  const char* const path = std::getenv("DUNLIN_TEST_FAULT_FILE");
  if (path == nullptr) return;
  const std::string partial = std::string(path) + ".partial";
  std::FILE* const file = std::fopen(partial.c_str(), "w");
  if (file == nullptr) std::abort();
  std::fprintf(file, "%d %d\n", static_cast<int>(getpid()), static_cast<int>(getppid()));
  std::fclose(file);
  if (std::rename(partial.c_str(), path) != 0) std::abort();
}

// The error of "fail". Nobody looks into a PJRT_Error but the plug-in.
int g_exhausted = 0;

PJRT_Error* exhausted() {
  return reinterpret_cast<PJRT_Error*>(&g_exhausted);
}

// What goes wrong in call number `count`; null: nothing.
PJRT_Error* go_wrong(const char* call, int count) {
  if (std::strcmp(call, fault().call) != 0 || count != fault().number) return nullptr;
  note_process();
  const std::string action = fault().action;
  while (action == "hang") pause();
  if (action == "abort") {
    ::prctl(PR_SET_DUMPABLE, 0);  // no core file of some GB
    std::abort();
  }
  if (action == "exit") _exit(3);
  return action == "fail" ? exhausted() : nullptr;
}

bool calls_count() {
  const char* const start = std::getenv("DUNLIN_TEST_FAULT_START");
  return start == nullptr || access(start, F_OK) == 0;
}

template <typename Args>
PJRT_Error* with_fault(const char* call, std::atomic<int>& count, PJRT_Error* (*real)(Args*),
                       Args* args) {
  PJRT_Error* const error = calls_count() ? go_wrong(call, ++count) : nullptr;
  return error != nullptr ? error : real(args);
}

std::atomic<int> g_opened = 0;
std::atomic<int> g_uploaded = 0;
std::atomic<int> g_downloaded = 0;
std::atomic<int> g_compiled = 0;
std::atomic<int> g_loaded = 0;
std::atomic<int> g_executed = 0;

PJRT_Error* open_client(PJRT_Client_Create_Args* args) {
  return with_fault("open", g_opened, g_real->PJRT_Client_Create, args);
}
PJRT_Error* upload(PJRT_Client_BufferFromHostBuffer_Args* args) {
  return with_fault("upload", g_uploaded, g_real->PJRT_Client_BufferFromHostBuffer, args);
}
PJRT_Error* download(PJRT_Buffer_ToHostBuffer_Args* args) {
  return with_fault("download", g_downloaded, g_real->PJRT_Buffer_ToHostBuffer, args);
}
PJRT_Error* compile(PJRT_Client_Compile_Args* args) {
  return with_fault("compile", g_compiled, g_real->PJRT_Client_Compile, args);
}
PJRT_Error* load_program(PJRT_Executable_DeserializeAndLoad_Args* args) {
  return with_fault("load_program", g_loaded, g_real->PJRT_Executable_DeserializeAndLoad, args);
}
PJRT_Error* execute(PJRT_LoadedExecutable_Execute_Args* args) {
  return with_fault("execute", g_executed, g_real->PJRT_LoadedExecutable_Execute, args);
}

void error_message(PJRT_Error_Message_Args* args) {
  if (args->error != exhausted()) {
    g_real->PJRT_Error_Message(args);
    return;
  }
  args->message = "out of device memory, says the test";
  args->message_size = std::strlen(args->message);
}
PJRT_Error* error_code(PJRT_Error_GetCode_Args* args) {
  if (args->error != exhausted()) return g_real->PJRT_Error_GetCode(args);
  args->code = PJRT_Error_Code_RESOURCE_EXHAUSTED;
  return nullptr;
}
void destroy_error(PJRT_Error_Destroy_Args* args) {
  if (args->error != exhausted()) g_real->PJRT_Error_Destroy(args);
}

PJRT_Api* make_api() {
  void* const library = dlopen(REAL_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return nullptr;
  }
  using GetApi = const PJRT_Api*();
  const auto get_api = reinterpret_cast<GetApi*>(dlsym(library, "GetPjrtApi"));
  g_real = get_api == nullptr ? nullptr : get_api();
  if (g_real == nullptr) return nullptr;
  static PJRT_Api api;
  std::memcpy(&api, g_real, PJRT_Api_STRUCT_SIZE);
  api.struct_size = PJRT_Api_STRUCT_SIZE;
  api.PJRT_Client_Create = open_client;
  api.PJRT_Client_BufferFromHostBuffer = upload;
  api.PJRT_Buffer_ToHostBuffer = download;
  api.PJRT_Client_Compile = compile;
  api.PJRT_Executable_DeserializeAndLoad = load_program;
  api.PJRT_LoadedExecutable_Execute = execute;
  api.PJRT_Error_Message = error_message;
  api.PJRT_Error_GetCode = error_code;
  api.PJRT_Error_Destroy = destroy_error;
  return &api;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const PJRT_Api* GetPjrtApi() {
  go_wrong("load", 1);
  return make_api();
}
