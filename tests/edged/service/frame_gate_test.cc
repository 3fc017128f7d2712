#include "edged/service/frame_gate.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/protocol/bytes.h"
#include "common/status.h"
#include "tests/edged/service/http2_frames.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Time = std::chrono::steady_clock::time_point;

constexpr Time kStart(seconds(100));

// A connection whose client sends `bytes`.
struct Connection {
  // How many go on, -1: it is to be closed.
  int Admit(const std::string& bytes, Time now = kStart) {
    const auto admitted = gate.Admit(protocol::AsBytes(bytes), pace, now);
    error = Message(admitted.status());
    return admitted.ok() ? static_cast<int>(*admitted) : -1;
  }

  ClientPace pace;
  FrameGate gate;
  std::string error;
};

std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

int Size(const std::string& text) { return static_cast<int>(text.size()); }

TEST_CASE("frame_gate: what an agent says goes on", "[frame_gate]") {
  Connection agent;
  const std::string begin = kPreface + Frame(kSettingsFrame, 30) +
                            Frame(kHeadersFrame, 200) + Frame(kDataFrame, 5);
  CHECK(agent.Admit(begin) == Size(begin));
  // A snapshot of any size.
  const std::string chunks = Times(500, Frame(kDataFrame, 16'384));
  CHECK(agent.Admit(chunks) == Size(chunks));
  CHECK_FALSE(agent.gate.is_held());
}

TEST_CASE("frame_gate: bytes that come one by one", "[frame_gate]") {
  Connection agent;
  const std::string all = kPreface + Frame(kHeadersFrame, 20) +
                          Frame(kDataFrame, 40) + Frame(kPingFrame, 8);
  std::string waiting;
  int admitted = 0;
  for (const char byte : all) {
    waiting += byte;
    const int more = agent.Admit(waiting);
    REQUIRE(more >= 0);
    // Only the head of a frame waits for the rest of it.
    REQUIRE(Size(waiting) - more < 9);
    CHECK_FALSE(agent.gate.is_held());
    waiting.erase(0, static_cast<size_t>(more));
    admitted += more;
  }
  CHECK(admitted == Size(all));
}

TEST_CASE("frame_gate: calls wait when they are too many", "[frame_gate]") {
  Connection flood;
  REQUIRE(flood.Admit(kPreface) == Size(kPreface));
  const std::string call = Frame(kHeadersFrame, 100);
  const std::string calls = Times(1000, call);
  CHECK(flood.Admit(calls) == 64 * Size(call));
  CHECK(flood.gate.is_held());
  CHECK(flood.Admit(calls, kStart + milliseconds(10)) == 0);
  CHECK(flood.Admit(calls, kStart + seconds(1)) == 32 * Size(call));
  // Messages wait behind them, as they came.
  CHECK(flood.Admit(call + Frame(kDataFrame, 100), kStart + seconds(1)) == 0);
  CHECK(flood.gate.is_held());
  CHECK(flood.Admit(call, kStart + seconds(60)) == Size(call));
  CHECK_FALSE(flood.gate.is_held());
}

TEST_CASE("frame_gate: connections of one client share its pace",
          "[frame_gate]") {
  ClientPace pace;
  const std::string call = Frame(kHeadersFrame, 10);
  const std::string begin = kPreface + Times(40, call);
  size_t admitted = 0;
  for (int i = 0; i < 8; ++i) {
    FrameGate gate;
    const auto size = gate.Admit(protocol::AsBytes(begin), pace, kStart);
    REQUIRE(size.ok());
    admitted += *size - kPreface.size();
  }
  CHECK(admitted == 64 * call.size());
}

TEST_CASE("frame_gate: so do pings, settings and empty messages",
          "[frame_gate]") {
  for (const std::string& frame :
       {Frame(kPingFrame, 8), Frame(kSettingsFrame, 6), Frame(kDataFrame, 0),
        Frame(kDataFrame, FrameGate::kSmallData - 1)}) {
    Connection flood;
    REQUIRE(flood.Admit(kPreface) == Size(kPreface));
    CHECK(flood.Admit(Times(5000, frame)) == 1000 * Size(frame));
    CHECK(flood.gate.is_held());
  }
}

TEST_CASE("frame_gate: headers have an end", "[frame_gate]") {
  Connection one;
  REQUIRE(one.Admit(kPreface) == Size(kPreface));
  const std::string some =
      Frame(kHeadersFrame, 10'000, false) + Frame(kContinuationFrame, 6'384);
  CHECK(one.Admit(some) == Size(some));
  CHECK(one.Admit(some) == Size(some));
  CHECK(one.Admit(Frame(kHeadersFrame, 10'000, false) +
                  Frame(kContinuationFrame, 6'000, false) +
                  Frame(kContinuationFrame, 400, false)) == -1);
  CHECK(one.error == "sends headers of more than 16384 bytes");
  Connection another;
  CHECK(another.Admit(kPreface + Frame(kHeadersFrame, 16'385)) == -1);
}

TEST_CASE("frame_gate: who speaks something else is not heard",
          "[frame_gate]") {
  Connection browser;
  CHECK(browser.Admit("GET / HTTP/1.1\r\n") == -1);
  CHECK(browser.error == "does not speak HTTP/2");
  Connection late;
  CHECK(late.Admit("PRI * HT") == 8);
  CHECK(late.Admit("ML") == -1);
}

}  // namespace
}  // namespace edged::edge
