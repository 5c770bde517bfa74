// Runs a function on a thread of its own with a large stack.
#pragma once

#include <functional>

namespace dunlin::pjrt {

// XLA's passes recurse over the program: a few thousand operations overflow the usual 8 MB.
inline constexpr size_t kCompileStackBytes = size_t{64} << 20;

// Returns when `function` has returned; on this thread where no other could be made.
void run_with_large_stack(const std::function<void()>& function);

}  // namespace dunlin::pjrt
