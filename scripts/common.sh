# shellcheck shell=bash
# What the scripts share, to be sourced; goes to the folder of the checkout. Progress is on stderr.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# configure PRESET [CMAKE_ARGUMENT...]: about a second when nothing changed, and sees new folders.
configure() {
  say "Configuring ($1)"
  cmake --preset "$1" --log-level=NOTICE "${@:2}" >&2
}

# build PRESET [ARGUMENT of cmake --build...]
build() {
  say "Building ($1)"
  cmake --build --preset "$1" "${@:2}" >&2
}

# find_test_data: tells the tests where the files are that the checkout does not hold. What is set
# already stays; tests that need something missing are skipped.
find_test_data() {
  local model
  if [[ -z "${DUNLIN_TEST_DATA:-}" && -d ../shared ]]; then
    DUNLIN_TEST_DATA="$(cd ../shared && pwd)"
    export DUNLIN_TEST_DATA
  fi
  if [[ -z "${DUNLIN_TEST_MODEL:-}" ]] && model="$(env -u DUNLIN_MODEL scripts/fetch-model)"; then
    export DUNLIN_TEST_MODEL="$model"
  fi
  say "DUNLIN_TEST_DATA: ${DUNLIN_TEST_DATA:-none, tests that need it are skipped}"
  say "DUNLIN_TEST_MODEL: ${DUNLIN_TEST_MODEL:-none, tests that need it are skipped}"
}

# run_tests PRESET [CTEST_ARGUMENT...]
run_tests() {
  local preset="$1"
  shift
  say "Testing ($preset${DUNLIN_ISA:+, DUNLIN_ISA=$DUNLIN_ISA})"
  ctest --preset "$preset" --parallel "$(nproc)" "$@"
}

# run_named_tests PRESET TEST...
run_named_tests() {
  local preset="$1" names
  shift
  printf -v names '%s|' "$@"
  run_tests "$preset" --tests-regex "^(${names%|})\$"
}

# What .ci/run runs with clang's address and undefined-behaviour sanitizers; scripts/test-all has the rest.
# shellcheck disable=SC2034
readonly sanitized=(artifact_test base_test cache_test chat_template_test checkpoint_test convert_test engine_test
  formats_test harmony_test hub_test kernels_test library_test out_of_memory_test program_test sampler_test
  settings_file_test tokenizer_test)
