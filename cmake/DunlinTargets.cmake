# Functions that declare a folder's library, a unit test and a fuzz target with the project's flags.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# Where it is installed. scripts/install-deps does not: a first build takes longer with it.
find_program(DUNLIN_CCACHE ccache)
if(DUNLIN_CCACHE)
  # What ccache needs to know of precompiled headers, see "Precompiled headers" in its manual.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros
                                  "${DUNLIN_CCACHE}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(DUNLIN_PCH_OPTIONS -fpch-preprocess)
  else()
    set(DUNLIN_PCH_OPTIONS "SHELL:-Xclang -fno-pch-timestamp")
  endif()
endif()

# The kind of processor that is built for: it chooses files of src/base and src/backend/cpu/kernels.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(DUNLIN_PROCESSOR x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(DUNLIN_PROCESSOR aarch64)
else()
  message(FATAL_ERROR "Dunlin has no kernels for \"${CMAKE_SYSTEM_PROCESSOR}\": x86_64 or aarch64")
endif()

add_library(dunlin_flags INTERFACE)
target_compile_options(dunlin_flags INTERFACE
  -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror
  # Bits of a result never depend on what the compiler chose to contract (docs/decisions/0002-numerics.md).
  -ffp-contract=off
  -fvisibility=hidden)
target_include_directories(dunlin_flags INTERFACE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include")

if(DUNLIN_PROCESSOR STREQUAL "aarch64")
  # As on x86-64: elsewhere a char has no sign, and what compares one with a negative number would differ.
  target_compile_options(dunlin_flags INTERFACE -fsigned-char)
endif()

if(DUNLIN_SANITIZE)
  target_compile_options(dunlin_flags INTERFACE "-fsanitize=${DUNLIN_SANITIZE}" -fno-omit-frame-pointer
                                                -fno-sanitize-recover=all
                                                "-fsanitize-ignorelist=${PROJECT_SOURCE_DIR}/cmake/sanitizers.ignore")
  target_link_options(dunlin_flags INTERFACE "-fsanitize=${DUNLIN_SANITIZE}")
endif()
if(DUNLIN_FUZZ)
  # scripts/coverage counts lines in the same build.
  target_compile_options(dunlin_flags INTERFACE -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(dunlin_flags INTERFACE -fprofile-instr-generate)
endif()

# Code that waits, for the engine or for a test to end, is not worth the optimiser's time: half of what it takes to
# compile, and more under a sanitizer, where each check is one more branch. (At -O1 g++ 12 also warns of overruns
# inside std::string that are none.)
set(DUNLIN_COMMAND_OPTIONS -O1)
set(DUNLIN_TEST_OPTIONS -O0)
# Nor is code that reads headers, configurations and templates, or plans: a third of what it takes to compile.
set(DUNLIN_PREPARING_OPTIONS -O1)
if(DUNLIN_SANITIZE)
  set(DUNLIN_COMMAND_OPTIONS -O0)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  # Nothing is optimised, and g++ takes no header that was precompiled at another level.
  set(DUNLIN_COMMAND_OPTIONS "")
  set(DUNLIN_PREPARING_OPTIONS "")
endif()

# Headers that take seconds each time they are read, compiled once for src/ and once for tests/: a third of what the
# sources of src/ take. A missing include is what scripts/check-includes notices.
set(DUNLIN_PRECOMPILED_HEADERS <algorithm> <functional> <map> <memory> <optional> <span> <string> <vector>
                               <fmt/format.h> <nlohmann/json.hpp>)

# Eight files of a folder are compiled as one where CMAKE_UNITY_BUILD is on, as in the presets that build everything: most
# of what a file costs is the templates that it instantiates, and together they take less than half the time. So names in unnamed
# namespaces are unique in a folder. g++ takes the types of an included unnamed namespace for those of a header, which
# other files would see too, and warns.
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(dunlin_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()

# Half a GB before g++ looks for what it can free: a fifth less time for a fifth more memory, 1 GB at most.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(dunlin_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:--param=ggc-min-heapsize=524288>)
endif()

# dunlin_precompile_library(): what dunlin_library reuses.
function(dunlin_precompile_library)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/src/precompiled.cpp" CONTENT "")
  add_library(dunlin_precompiled STATIC "${PROJECT_BINARY_DIR}/src/precompiled.cpp")
  target_link_libraries(dunlin_precompiled PRIVATE dunlin_flags fmt::fmt nlohmann_json::nlohmann_json)
  target_compile_options(dunlin_precompiled PRIVATE ${DUNLIN_PCH_OPTIONS})
  target_precompile_headers(dunlin_precompiled PRIVATE ${DUNLIN_PRECOMPILED_HEADERS})
endfunction()

# dunlin_precompile_tests(): what dunlin_test reuses. It is an executable, as position-independent code of another kind
# could not use it.
function(dunlin_precompile_tests)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/tests/precompiled.cpp" CONTENT "int main() {}\n")
  add_executable(dunlin_precompiled_tests "${PROJECT_BINARY_DIR}/tests/precompiled.cpp")
  target_link_libraries(dunlin_precompiled_tests PRIVATE dunlin_flags fmt::fmt nlohmann_json::nlohmann_json
                                                         GTest::gtest GTest::gmock)
  target_compile_options(dunlin_precompiled_tests PRIVATE ${DUNLIN_TEST_OPTIONS} ${DUNLIN_PCH_OPTIONS})
  target_precompile_headers(dunlin_precompiled_tests PRIVATE <gmock/gmock.h> <gtest/gtest.h>
                                                             ${DUNLIN_PRECOMPILED_HEADERS})
endfunction()

# dunlin_library(NAME [FILE_BY_FILE] SOURCES a.cpp b.cpp DEPS base tensor EXTERNAL fmt::fmt OPTIONS -O1)
# DEPS are folders of src/; the target is dunlin_<NAME>. FILE_BY_FILE: of files that each define the same names. OPTIONS: of its compiler. Headers that were precompiled with
# an optimiser do not fit -O0, which precompiles its own.
function(dunlin_library NAME)
  cmake_parse_arguments(ARG "FILE_BY_FILE" "" "SOURCES;DEPS;EXTERNAL;OPTIONS" ${ARGN})
  set(target "dunlin_${NAME}")
  list(TRANSFORM ARG_DEPS PREPEND "dunlin_")
  if(ARG_SOURCES)
    add_library(${target} STATIC ${ARG_SOURCES})
    target_link_libraries(${target} PRIVATE dunlin_flags PUBLIC ${ARG_DEPS} ${ARG_EXTERNAL})
    target_compile_options(${target} PRIVATE ${DUNLIN_PCH_OPTIONS} ${ARG_OPTIONS})
    if(ARG_FILE_BY_FILE)
      set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
    endif()
    if("-O0" IN_LIST ARG_OPTIONS)
      target_precompile_headers(${target} PRIVATE ${DUNLIN_PRECOMPILED_HEADERS})
    else()
      target_precompile_headers(${target} REUSE_FROM dunlin_precompiled)
    endif()
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${ARG_DEPS} ${ARG_EXTERNAL})
  endif()
endfunction()

# dunlin_test(NAME SOURCES a_test.cpp DEPS base [LABELS thorough|slow] [ARGS ...] [OPTIMISED]): one GoogleTest binary, one
# ctest entry. OPTIMISED: it computes a lot itself, and goes without the precompiled headers of the others. scripts/test leaves out both labels, .ci/run has the thorough tests, scripts/test-all has all of them.
function(dunlin_test NAME)
  cmake_parse_arguments(ARG "OPTIMISED" "" "SOURCES;DEPS;LABELS;ARGS;EXTERNAL" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND "dunlin_")
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE dunlin_flags ${ARG_DEPS} ${ARG_EXTERNAL} GTest::gtest GTest::gmock
                                        GTest::gtest_main)
  target_compile_definitions(${NAME} PRIVATE "DUNLIN_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
  target_include_directories(${NAME} PRIVATE "${PROJECT_SOURCE_DIR}/tests")  # support/, helpers of other folders
  if(ARG_OPTIMISED)
    target_compile_options(${NAME} PRIVATE -O1)
  else()
    target_compile_options(${NAME} PRIVATE ${DUNLIN_TEST_OPTIONS} ${DUNLIN_PCH_OPTIONS})
    target_precompile_headers(${NAME} REUSE_FROM dunlin_precompiled_tests)
  endif()
  dunlin_add_test(${NAME} COMMAND ${NAME} ${ARG_ARGS} LABELS ${ARG_LABELS})
endfunction()

# dunlin_add_test(NAME COMMAND ... [LABELS thorough|slow]): a ctest entry with a folder for temporary files of its own, so that
# tests of the same binary, of other presets and of other checkouts can run at the same time.
function(dunlin_add_test NAME)
  cmake_parse_arguments(ARG "" "" "COMMAND;LABELS" ${ARGN})
  set(folder "${PROJECT_BINARY_DIR}/tmp/${NAME}")
  file(MAKE_DIRECTORY "${folder}")
  add_test(NAME ${NAME} COMMAND ${ARG_COMMAND})
  set(timeout 600)
  if(DUNLIN_SANITIZE OR CMAKE_CROSSCOMPILING)  # an emulator runs it
    set(timeout 1800)
  endif()
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${timeout} ENVIRONMENT "TEST_TMPDIR=${folder}")
  # A program all of whose tests were skipped, and none failed: that is when GoogleTest's list of skipped tests, after
  # no passed ones, is the last thing it prints.
  set_tests_properties(${NAME} PROPERTIES SKIP_REGULAR_EXPRESSION
    "\\[  PASSED  \\] 0 tests\\.\n\\[  SKIPPED \\] [0-9]+ tests?, listed below:\n(\\[  SKIPPED \\] [^\n]*\n)+$")
  if(ARG_LABELS)
    set_tests_properties(${NAME} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()

# dunlin_fuzz(NAME SOURCES x.cpp DEPS ...): a libFuzzer binary, built by the preset fuzz only.
function(dunlin_fuzz NAME)
  if(NOT DUNLIN_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND "dunlin_")
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE dunlin_flags ${ARG_DEPS})
  target_link_options(${NAME} PRIVATE -fsanitize=fuzzer)
endfunction()
