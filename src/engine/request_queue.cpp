#include "engine/request_queue.h"

#include <utility>

namespace dunlin {

void RequestQueue::push(List entry) {
  const std::lock_guard lock(mutex_);
  waiting_.splice(waiting_.end(), entry);
}

void RequestQueue::cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  for (List* list : {&waiting_, &running_}) {
    for (ActiveRequest& entry : *list) {
      if (entry.id == id) entry.cancelled = true;
    }
  }
}

void RequestQueue::end_session(SessionId session) {
  const std::lock_guard lock(mutex_);
  ended_sessions_.push_back(session);
  for (List* list : {&waiting_, &running_}) {
    for (ActiveRequest& entry : *list) {
      if (entry.session == session) entry.session = 0;
    }
  }
}

ActiveRequest* RequestQueue::next() {
  const std::lock_guard lock(mutex_);
  return waiting_.empty() ? nullptr : &waiting_.front();
}

void RequestQueue::start() {
  const std::lock_guard lock(mutex_);
  running_.splice(running_.end(), waiting_, waiting_.begin());
}

void RequestQueue::put_back(List::iterator running) {
  const std::lock_guard lock(mutex_);
  waiting_.splice(waiting_.begin(), running_, running);
}

std::exception_ptr RequestQueue::remove_over() {
  std::exception_ptr exception;
  List over;  // its sinks are the callers', and are destroyed without the lock
  const std::lock_guard lock(mutex_);
  for (List* list : {&waiting_, &running_}) {
    for (auto it = list->begin(); it != list->end();) {
      const auto entry = it++;
      if (!entry->over() || entry->slot >= 0) continue;
      if (exception == nullptr) exception = entry->exception();
      over.splice(over.end(), *list, entry);
    }
  }
  return exception;
}

std::vector<SessionId> RequestQueue::take_ended_sessions() {
  const std::lock_guard lock(mutex_);
  return std::exchange(ended_sessions_, {});
}

bool RequestQueue::empty() {
  const std::lock_guard lock(mutex_);
  return waiting_.empty() && running_.empty();
}

}  // namespace dunlin
