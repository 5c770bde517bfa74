// Tells models apart by what is cheap to read.
#pragma once

#include <string>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// 32 hexadecimal digits, XXH3 of the configuration, of every tensor's name, shape and format, and of
// 4 KiB from the beginning, the middle and the end of its data: models that were trained further or
// quantised otherwise differ in them. It is no proof that files are equal. A prepared
// directory has that of the checkpoint it was made from. Errors: a file that
// cannot be read.
Result<std::string> fingerprint(const Checkpoint& checkpoint);

// The same with the size, the number and the time of the last change of every file: also told apart are
// files that were written again with the same bytes, or with others that the samples miss. Paths play no
// part. Errors too: a checkpoint that does not lie in files.
Result<std::string> file_fingerprint(const Checkpoint& checkpoint);

}  // namespace dunlin
