// What a client of the API sends, before gRPC sees it.

#include <algorithm>
#include <optional>

#include "common/protocol/bytes.h"
#include "edged/service/frame_gate.h"
#include "tests/edged/service/http2_frames.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

constexpr std::chrono::steady_clock::time_point kNow(std::chrono::seconds(1));

// How many bytes go on when they come in pieces; nothing: the connection is to
// be closed.
std::optional<size_t> AdmittedOf(Input input, size_t piece) {
  edge::FrameGate gate;
  edge::ClientPace pace;
  size_t admitted = 0;
  for (size_t come = 0; come < input.size() || come == 0;) {
    come = std::min(come + piece, input.size());
    const Input waiting = input.subspan(admitted, come - admitted);
    const auto more = gate.Admit(waiting, pace, kNow);
    if (!more.ok()) return std::nullopt;
    Require(*more <= waiting.size(), "no more goes on than has come");
    Require(gate.is_held() || waiting.size() - *more < 9,
            "only a part of a head waits for more");
    admitted += *more;
    if (input.empty()) break;
  }
  return admitted;
}

}  // namespace

bool Try(Input input) {
  const auto whole = AdmittedOf(input, input.size());
  Require(whole == AdmittedOf(input, 1), "the pieces make no difference");
  return whole == input.size();
}

std::vector<std::string> Seeds() {
  using edge::Frame;
  using edge::kPreface;
  return {kPreface,
          kPreface + Frame(edge::kSettingsFrame, 6) +
              Frame(edge::kHeadersFrame, 20) + Frame(edge::kDataFrame, 40),
          kPreface + Frame(edge::kHeadersFrame, 9, false) +
              Frame(edge::kContinuationFrame, 9) + Frame(edge::kPingFrame, 8)};
}

}  // namespace edged::fuzz
