// This machine's processor as a device of the planner: its memory, and its rates as they were
// calibrated or are typical.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backend/api.h"
#include "base/result.h"
#include "planner/device.h"

namespace dunlin {

// The file that holds the rates of this processor with so many threads (0: one per core); empty where
// there is no cache_folder().
std::string calibration_path(int threads);

// Measures for about ten seconds, with a progress bar, and keeps the result in calibration_path(). The disk
// is that of the pack cache (cli/pack_cache_flags.h); what is in the way of it is a note.
Result<CpuRates> calibrate_this_cpu(int threads);

// What calibrate_this_cpu() kept for so many threads; nothing where it did not, or where the file is
// wrong, which a note says.
std::optional<CpuRates> kept_rates(int threads);

// The kept rates; where there are none, a stream measured now and what is typical of the instruction
// set.
Result<CpuRates> rates_of_this_cpu(int threads);

// available_memory() (base/system_memory.h), as far as an int64_t counts.
int64_t available_bytes();

// Its memory: available_bytes().
Device cpu_device(CpuRates rates);

// Resident bytes of this process now. One that has read the headers and the tokenizer and recorded the
// Program is as large as one that loads the model, but for what the back end holds.
int64_t resident_bytes();

// Processes that were running, on average over the last minute; 0 where the system does not say.
double load_average();

}  // namespace dunlin
