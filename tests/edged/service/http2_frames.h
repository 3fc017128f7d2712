#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace edged::edge {

// Frames of HTTP/2 as a client sends them (RFC 9113, sections 3.4, 4.1 and 6).
inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum FrameType : uint8_t {
  kDataFrame = 0,
  kHeadersFrame = 1,
  kSettingsFrame = 4,
  kPingFrame = 6,
  kContinuationFrame = 9,
};

inline std::string Frame(FrameType type, size_t size, bool is_end = true) {
  const auto byte = [](size_t value) { return static_cast<char>(value); };
  const size_t flags = is_end && type != kDataFrame ? 4 : 0;
  return std::string{byte(size >> 16),
                     byte(size >> 8 & 255),
                     byte(size & 255),
                     byte(type),
                     byte(flags),
                     0,
                     0,
                     0,
                     1} +
         std::string(size, 'x');
}

}  // namespace edged::edge
