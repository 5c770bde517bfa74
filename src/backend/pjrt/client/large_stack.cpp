#include "backend/pjrt/client/large_stack.h"

#include <pthread.h>

namespace dunlin::pjrt {

void run_with_large_stack(const std::function<void()>& function) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kCompileStackBytes);
  const auto body = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  pthread_t thread;
  void* argument = const_cast<std::function<void()>*>(&function);
  const bool started = pthread_create(&thread, &attributes, body, argument) == 0;
  pthread_attr_destroy(&attributes);
  if (started) {
    pthread_join(thread, nullptr);
  } else {
    function();
  }
}

}  // namespace dunlin::pjrt
