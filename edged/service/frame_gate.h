#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "common/rate_limit.h"

namespace edged::edge {

// What one client of the API may ask for, on all its connections together. An
// agent makes a few calls an hour, a person some in a row.
struct ClientPace {
  RateLimit calls{32, 64};
  // Frames that carry no message: pings, settings, window updates, resets.
  RateLimit controls{1000, 1000};
};

// Says how much of what a client sends on an HTTP/2 connection (RFC 9113,
// section 4) may go on to gRPC. gRPC 1.51 takes in whatever has arrived before
// any of our code hears of it, at 7 KB a call, so that a flood of calls that
// are taken back at once grows it without limit. Here it waits in the socket of
// who sends it instead. Pure: the caller brings bytes and time.
class FrameGate {
 public:
  // Of a request: gRPC refuses more than 8 KB of them, but reads on.
  static constexpr size_t kMostHeaders = 16 << 10;
  // A message of this size or more costs its sender as much as gRPC.
  static constexpr size_t kSmallData = 32;
  // Of a frame; fewer bytes wait for more.
  static constexpr size_t kHeadSize = 9;

  // How many of `bytes` may go on; they begin where those that went on before
  // ended. The rest is brought again, with what follows it, and later where
  // is_held(). InvalidArgument: the connection is to be closed; the message
  // says what its client does.
  absl::StatusOr<size_t> Admit(std::span<const uint8_t> bytes, ClientPace& pace,
                               std::chrono::steady_clock::time_point now);

  // Admit() kept something back because of the pace, not for want of bytes.
  bool is_held() const { return held_; }

 private:
  struct Head {
    size_t length;
    uint8_t type;
    uint8_t flags;
  };

  static Head HeadOf(std::span<const uint8_t> bytes);
  absl::Status Count(const Head& head);

  size_t preface_ = 0;  // bytes of it that have come
  size_t payload_ = 0;  // bytes of the frame that are still to come
  size_t headers_ = 0;  // of the request whose headers go on in the next frame
  bool held_ = false;
};

}  // namespace edged::edge
