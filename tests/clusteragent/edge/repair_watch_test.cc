#include "clusteragent/edge/repair_watch.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/clusteragent/edge/scripted_edge.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Writes down which streams were opened.
class Events final : public EdgeClient {
 public:
  std::string opened;

  void Register(const Epoch&, const protocol::Uplink&, const std::string&,
                std::function<void(const absl::Status&)>) override {}
  std::unique_ptr<SyncStream> OpenSync(const Epoch&, const protocol::Digest&,
                                       SyncListener&) override {
    return nullptr;
  }
  std::unique_ptr<EventStream> OpenEvents(uint32_t recent,
                                          EventListener&) override {
    opened += std::to_string(recent) + " ";
    return std::make_unique<EventStream>();
  }
};

EdgeEvent At(int second) {
  return {.at = std::chrono::system_clock::time_point(seconds(second)),
          .what = Drift{.what = std::to_string(second), .repair = "it"}};
}

TEST_CASE("repair_watch: opens its stream anew, and tells nothing twice",
          "[repair_watch]") {
  VirtualLoop loop;
  Events edge;
  int told = 0;
  RepairWatch watch(loop, edge, [&told](const Happening&) { ++told; });
  CHECK(edge.opened == "0 ");
  watch.OnEventsEnd(absl::UnavailableError("gone"));
  loop.Advance(seconds(10));
  CHECK(edge.opened == "0 0 ");
  watch.OnEvent(At(5));
  CHECK(told == 1);
  watch.OnEventsEnd(absl::UnavailableError("gone"));
  loop.Advance(milliseconds(200));
  CHECK(edge.opened == "0 0 ");
  loop.Advance(seconds(1));
  CHECK(edge.opened == "0 0 20 ");
  watch.OnEvent(At(4));
  watch.OnEvent(At(5));
  CHECK(told == 1);
  watch.OnEvent(At(6));
  CHECK(told == 1);  // counted, to be told later
}

}  // namespace
}  // namespace edged::agent
