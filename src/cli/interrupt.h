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

}  // namespace dunlin
