// What the files of the C API share: the engine behind the handle, and errors as a status and a text.
#pragma once

#include <dunlin/dunlin.h>
#include <dunlin/engine.h>

#include <atomic>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

struct dunlin_engine {
  explicit dunlin_engine(dunlin::Engine loaded) : engine(std::move(loaded)) {}

  dunlin::Engine engine;
  std::atomic<bool> stepping = false;  // a thread is in step()
};

namespace dunlin {

inline constexpr const char* kNull = "a pointer that must not be NULL is";
inline constexpr const char* kStruct =
    "struct_size is not set, or the struct has fields that this library does not know";

// Keeps the text for dunlin_last_error(), cut to a buffer that is there when memory is not.
dunlin_status failed(dunlin_status status, std::string_view text) noexcept;
dunlin_status failed(const Error& error) noexcept;
inline dunlin_status usage(std::string_view text) noexcept {
  return failed(DUNLIN_ERROR_USAGE, text);
}

// Runs the body of a function of the C API: no exception leaves it.
template <typename F>
dunlin_status without_exceptions(F&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return failed(DUNLIN_ERROR_DOES_NOT_FIT, "out of memory");
  } catch (const std::exception& exception) {
    return failed(DUNLIN_ERROR_RUNTIME, exception.what());
  } catch (...) {
    return failed(DUNLIN_ERROR_RUNTIME, "an exception of unknown type");
  }
}

}  // namespace dunlin
