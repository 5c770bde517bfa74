// Structs of the C API that begin with struct_size (<dunlin/dunlin.h>, "Stability").
#pragma once

#include <cstddef>
#include <cstring>

namespace dunlin {

// No struct comes near it: a larger size is one that was never set.
inline constexpr size_t kLargestStruct = 4096;

template <typename T>
bool plausible_size(const T* given, size_t& size) {
  std::memcpy(&size, given, sizeof size);
  return size >= sizeof size && size <= kLargestStruct;
}

// Copies what the caller's struct holds over the defaults in `into`. False: its size was never set,
// or it holds something that is not zero where this library knows no field.
template <typename T>
bool read_struct(const T* given, T& into) {
  size_t size = 0;
  if (!plausible_size(given, size)) return false;
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  std::memcpy(&into, given, size < sizeof(T) ? size : sizeof(T));
  into.struct_size = sizeof(T);
  return true;
}

// Copies as much of `from` as the caller's struct holds, but for its size; what lies behind becomes
// zero. False: its size was never set.
template <typename T>
bool write_struct(const T& from, T* given) {
  size_t size = 0;
  if (!plausible_size(given, size)) return false;
  const size_t known = size < sizeof(T) ? size : sizeof(T);
  auto* bytes = reinterpret_cast<unsigned char*>(given);
  std::memcpy(bytes + sizeof size, reinterpret_cast<const unsigned char*>(&from) + sizeof size,
              known - sizeof size);
  std::memset(bytes + known, 0, size - known);
  return true;
}

}  // namespace dunlin
