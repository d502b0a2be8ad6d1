// Memory that is cut into parts, each of which begins at a whole line of the cache.

#pragma once

#include <memory>

#include "numbers.h"

namespace {

constexpr int64_t LINE = 64;  // bytes that come into the cache at once

struct Memory {
  std::unique_ptr<char[]> bytes;
  int64_t size = 0;
};

class Scratch {
 public:
  // Cut what a memory has; it is replaced where that is not enough.
  Scratch(Memory& memory, int64_t bytes) {
    const int64_t needed = bytes + LINE;
    if (memory.size < needed) memory.bytes.reset(new char[needed]), memory.size = needed;
    next = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory.bytes.get()) + LINE - 1) / LINE * LINE);
  }

  // How many bytes `cut` takes for some numbers.
  template <class T>
  static int64_t bytes(int64_t numbers) {
    return (numbers * int64_t(sizeof(T)) + LINE - 1) / LINE * LINE;
  }

  template <class T>
  T* cut(int64_t numbers) {
    T* part = reinterpret_cast<T*>(next);
    next += bytes<T>(numbers);
    return part;
  }

 private:
  char* next;
};

}  // namespace
