// ArrayFile: named float32 and int32 arrays with string metadata in one safetensors file: reference values and dumps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "tensor/view.h"

namespace dunlin {

struct Array {
  DType dtype = DType::f32;  // f32 or i32
  Shape shape = {};
  std::vector<float> floats = {};
  std::vector<int32_t> integers = {};
};

class ArrayFile {
 public:
  // Reads the header; arrays are read on demand. Other element types are listed but cannot be read.
  static Result<ArrayFile> open(const std::string& path);
  static Result<ArrayFile> open(std::shared_ptr<const ByteSource> source);

  bool has(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> names() const;
  Result<Array> read(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return source_->name(); }

 private:
  struct Entry {
    std::string dtype;
    Shape shape;
    uint64_t begin, end;  // bytes from the start of the data
  };
  std::shared_ptr<const ByteSource> source_;
  uint64_t data_begin_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Writes arrays (in the map's order) atomically.
Result<void> write_array_file(const std::string& path, const std::map<std::string, Array>& arrays,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace dunlin
