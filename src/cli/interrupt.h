// SIGINT and SIGTERM as a flag that loops look at, so that an interrupted command leaves in order.
#pragma once

namespace dunlin {

// From now on the first signal sets the flag; a second one of the same kind ends the process at
// once.
void catch_interrupts();

// The signal that came, or 0.
int pending_interrupt();
void clear_interrupt();

// 130 or 143.
int exit_code_of_signal(int signal);

// Waits until the descriptor has something to read, or ends. False: a signal came, be it before the
// call; pending_interrupt() says whether it is one of those above.
bool wait_for_input(int descriptor);

}  // namespace dunlin
