#pragma once

#include <sodium.h>

#include <cstddef>
#include <memory>
#include <string>

namespace edged::wireguard {

// Clears memory when a container gives it back, also when it only grows.
template <typename T>
struct WipingAllocator {
  using value_type = T;

  WipingAllocator() = default;
  template <typename U>
  WipingAllocator(const WipingAllocator<U>&) {}

  T* allocate(size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* memory, size_t count) {
    sodium_memzero(memory, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  bool operator==(const WipingAllocator&) const { return true; }
};

// Text that may hold a private key. What fits into the string object itself
// (15 characters) is not wiped; a key does not.
using SecretText =
    std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;

}  // namespace edged::wireguard
