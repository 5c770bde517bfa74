// RequestQueue: the requests of an engine, those that wait and those that run. Any thread may push,
// cancel and end sessions; the owner of step() does the rest.
#pragma once

#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/active_request.h"

namespace dunlin {

class RequestQueue {
 public:
  // Nodes move between the lists, so that neither starting a request nor putting it back can fail.
  using List = std::list<ActiveRequest>;

  // Any thread. `entry` holds one request, which becomes the last that waits.
  void push(List entry);
  // Marks the request, if it is there.
  void cancel(RequestId id);
  // Requests of the session leave nothing behind any more, and the owner is told to end it.
  void end_session(SessionId session);

  // The owner. Oldest first: requests start in the order they came.
  List& running() { return running_; }
  ActiveRequest* next();                  // the first that waits; null: none
  void start();                           // next() becomes the last that runs
  void put_back(List::iterator running);  // becomes next()
  // Forgets what is over and holds no slot; returns what a sink of those threw.
  std::exception_ptr remove_over();
  std::vector<SessionId> take_ended_sessions();
  bool empty();

 private:
  std::mutex mutex_;  // guards the lists' structure and what follows
  List waiting_;
  List running_;  // changed by the owner alone, who reads it without the lock
  std::vector<SessionId> ended_sessions_;
};

}  // namespace dunlin
