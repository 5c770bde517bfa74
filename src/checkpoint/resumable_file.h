// ResumableFile: an AtomicFile that is written front to back in parts. Whole parts outlive a run that
// was ended, and the next run with the same key goes on after them.
//
// NAME.tmp has the bytes. NAME.tmp.parts lists the whole parts: a line with the key, then a line for
// each part with its end in the file and the hash of its bytes. Nothing is synchronised before the
// end: what a crash of the machine took from NAME.tmp does not agree with its hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/file_descriptor.h"
#include "base/result.h"
#include "checkpoint/xxh3_hash.h"

namespace dunlin {

class ResumableFile {
 public:
  // `key` stands for all that the bytes depend on, in one line; with an empty one nothing is
  // resumed. Errors are those of AtomicFile.
  static Result<ResumableFile> create(const std::string& path, std::string key = {});

  ResumableFile(ResumableFile&& other) noexcept = default;
  ResumableFile& operator=(ResumableFile&& other) noexcept = default;
  ~ResumableFile();  // removes both files, unless parts are kept

  // The first part. An earlier run's parts hold if it began with the same bytes; otherwise the file
  // begins anew. `file_bytes` are those of the whole file: an error (kind does_not_fit) when the rest
  // does not fit the disk.
  Result<void> begin(std::span<const std::byte> header, uint64_t file_bytes);
  // Whether an earlier run has written the next part, which has so many bytes; then it is over.
  Result<bool> skip_part(uint64_t bytes);
  Result<void> write(std::span<const std::byte> bytes);
  // Bytes of the part behind the one that is being written, whose end in the file is `part_end`, in
  // their order. When that part is over, write() goes on after them.
  Result<void> write_ahead(uint64_t part_end, std::span<const std::byte> bytes);
  Result<void> end_part();

  const std::string& temporary() const { return file_.temporary(); }
  // Whether the next run can go on with more than the first part.
  bool keeps_parts() const { return keeps_parts_; }
  // Nothing stays for the next run.
  void discard() { keep_parts(false); }

  Result<void> commit();

  // Of a file that is whole: a run that was ended in its last moment has left the list of its parts.
  static void forget_parts(const std::string& path);
  // Whether `path` is the temporary of such a file.
  static bool is_unfinished(const std::string& path);

 private:
  struct Part {
    uint64_t end = 0;  // in the file
    std::string hash = {};
  };

  ResumableFile(std::string path, AtomicFile file, std::string key);
  std::string list_path() const;
  std::vector<Part> read_list() const;
  bool agrees(const Part& part) const;
  Result<void> go_on();
  Result<void> append_to_list(const std::string& text);
  void note_part();
  void keep_parts(bool stay);

  std::string path_;
  AtomicFile file_;
  std::string key_;
  FileDescriptor list_;
  std::vector<Part> left_ = {};  // by an earlier run
  size_t parts_ = 0;             // whole ones before position_
  uint64_t position_ = 0;        // where the next part begins, or the next bytes of it
  Xxh3Hash hash_ = {};           // of the part that is being written
  Xxh3Hash ahead_hash_ = {};     // of the next one
  uint64_t ahead_bytes_ = 0;     // of it that are there
  bool writing_ = false;         // no part is skipped any more
  bool keeps_parts_ = false;
};

// An error that ended the writing, with what is left in `temporary` for the next run.
Error resumable_error(Error error, const std::string& temporary);

}  // namespace dunlin
