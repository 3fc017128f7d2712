#include "edged/service/frame_gate.h"

#include <algorithm>
#include <string_view>

#include "common/status.h"

namespace edged::edge {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113, section 6.
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndHeaders = 4;

}  // namespace

FrameGate::Head FrameGate::HeadOf(std::span<const uint8_t> bytes) {
  return {.length = size_t{bytes[0]} << 16 | size_t{bytes[1]} << 8 | bytes[2],
          .type = bytes[3],
          .flags = bytes[4]};
}

absl::Status FrameGate::Count(const Head& head) {
  if (head.type != kHeaders && head.type != kContinuation) {
    return absl::OkStatus();
  }
  headers_ = head.length + (head.type == kContinuation ? headers_ : 0);
  if (headers_ > kMostHeaders) {
    return InvalidArgument("sends headers of more than {} bytes", kMostHeaders);
  }
  if ((head.flags & kEndHeaders) != 0) headers_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<size_t> FrameGate::Admit(
    std::span<const uint8_t> bytes, ClientPace& pace,
    std::chrono::steady_clock::time_point now) {
  held_ = false;
  size_t at = 0;
  for (; at < bytes.size() && preface_ < kPreface.size(); ++at, ++preface_) {
    if (bytes[at] != static_cast<uint8_t>(kPreface[preface_])) {
      return InvalidArgument("does not speak HTTP/2");
    }
  }
  while (at < bytes.size()) {
    if (payload_ > 0) {
      const size_t size = std::min(payload_, bytes.size() - at);
      payload_ -= size;
      at += size;
      continue;
    }
    if (bytes.size() - at < kHeadSize) break;
    const Head head = HeadOf(bytes.subspan(at));
    const bool is_free = head.type == kData && head.length >= kSmallData;
    RateLimit& limit = head.type == kHeaders ? pace.calls : pace.controls;
    held_ = !is_free && !limit.TryTake(now);
    if (held_) break;
    RETURN_IF_ERROR(Count(head));
    payload_ = head.length;
    at += kHeadSize;
  }
  return at;
}

}  // namespace edged::edge
