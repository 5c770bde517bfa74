// AtomicFile: a file that appears under its name whole, or not at all: written to NAME.tmp beside it,
// synchronised, renamed. The temporary is locked while it is written, so that a file has one writer
// at a time; the lock of a writer that was killed is gone, and the next one takes the temporary over.
// Whoever goes on with what is in it (checkpoint/resumable_file.h) keeps it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class AtomicFile {
 public:
  enum class Leftover { discard, keep };

  // A symbolic link at `path` is followed. Errors: anything but a regular file there, another
  // process that is writing it. What an earlier writer left in the temporary is discarded, or kept
  // for truncate().
  static Result<AtomicFile> create(const std::string& path, Leftover leftover = Leftover::discard);

  // What a writer calls the file at `path` until it is whole.
  static std::string temporary_of(const std::string& path);
  // Removes the temporary of a writer that was killed; one that is still written stays.
  static void remove_leftover(const std::string& temporary);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();  // removes what was not committed, unless it is to be kept

  // Appends. Errors name the path: a full disk, an I/O error.
  Result<void> write(std::span<const std::byte> bytes);
  // Writes at an offset, over what is there or behind the end; where write() goes on stays the same.
  Result<void> overwrite(uint64_t offset, std::span<const std::byte> bytes);
  // Drops what lies behind; write() goes on there.
  Result<void> truncate(uint64_t bytes);
  // Waits until all of it is on the disk, so that little is left for commit(), and the system may drop its
  // copy in memory. Errors as those of write().
  Result<void> synchronise();

  // The file that is written until commit(), beside where `path` leads.
  const std::string& temporary() const { return temporary_; }
  // Whether it stays when it is not committed.
  void keep(bool stays) { keep_ = stays; }

  // fsync, rename, fsync of the folder. Nothing may be written afterwards.
  Result<void> commit();

 private:
  AtomicFile(std::string path, std::string target) : path_(path), target_(target) {}
  Result<void> open_temporary(Leftover leftover);

  std::string path_;       // as the user named it
  std::string target_;     // where it leads
  std::string temporary_;  // empty once committed
  bool keep_ = false;
  FileDescriptor fd_;
};

}  // namespace dunlin
