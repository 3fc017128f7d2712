#include "clusteragent/edge/edge_syncer.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>

#include "common/status.h"
#include "tests/clusteragent/edge/scripted_edge.h"
#include "tests/fakes/virtual_loop.h"

namespace edged::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A syncer that speaks for epoch 7, and the edge it speaks to.
struct Setup {
  VirtualLoop loop;
  ScriptedEdge edge;
  int changes = 0;
  std::optional<EdgeSyncer> syncer;

  Setup() {
    syncer.emplace(loop, edge, Epoch{"cluster", 7}, "vps",
                   [this] { ++changes; });
  }

  // An edge that had nothing, and has `ports` now.
  explicit Setup(const std::string& ports) : Setup() {
    Want(ports);
    edge.Welcome("");
    edge.Ack(1, ports);
    edge.Heard();
    changes = 0;
  }

  void Want(const std::string& ports) { syncer->Want(edge.Make(ports)); }
  const EdgeSyncer::Progress& progress() const { return syncer->progress(); }
  std::string Answered() const {
    return progress().answered
               ? std::to_string(progress().answered->state().mappings.size())
               : "none";
  }
  std::string Refused() const {
    std::string text;
    for (const auto& [listener, why] : progress().refused) {
      text += listener.ToString() + " " + why + "\n";
    }
    return text;
  }
};

RefusedMapping Refuse(uint16_t port, const std::string& reason) {
  return {ScriptedEdge::ListenerOf(port), reason, "it is so"};
}

TEST_CASE("edge_syncer: opens with the first wish, and sends all of it",
          "[edge_syncer]") {
  Setup setup;
  CHECK(setup.edge.Heard() == "");
  setup.Want("80 443");
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80 443\n");
  CHECK_FALSE(setup.progress().connected);
  setup.edge.Welcome("");
  CHECK(setup.edge.Heard() == "1: snapshot 80 443\n");
  CHECK(setup.progress().connected);
  CHECK(setup.progress().edge_version == "1.2.3");
  CHECK(setup.progress().reserved_ports == std::vector<std::string>{"22/tcp"});
  CHECK(setup.Answered() == "none");
  CHECK(setup.changes == 1);
  setup.edge.Ack(1, "80 443");
  CHECK(setup.edge.Heard() == "");
  CHECK(setup.Answered() == "2");
  CHECK(setup.changes == 2);
}

TEST_CASE("edge_syncer: an edge without access rules is not asked to open wide",
          "[edge_syncer]") {
  Setup setup;
  setup.edge.knows_access = false;
  const auto choosy = [&setup](const std::string& ports) {
    protocol::EdgeState state = setup.edge.Make(ports)->state();
    state.groups.push_back(
        {.name = "choosy", .access = {.allow = {IpPrefix(IpAddress(), 8)}}});
    state.mappings.back().group = "choosy";
    return std::make_shared<const protocol::DigestedState>(std::move(state));
  };
  setup.syncer->Want(choosy("80 443"));
  setup.edge.Welcome("");
  setup.edge.Heard();
  setup.edge.Ack(1, "80");
  CHECK(setup.progress().trouble == "");
  CHECK(setup.Answered() == "2");
  CHECK(setup.Refused() ==
        "203.0.113.1 tcp/443 FeatureNotAvailable: edged 1.2.3 on vps knows no "
        "access rules; upgrade it\n");
  setup.syncer->Want(choosy("80 81 443"));
  CHECK(setup.edge.Heard() == "2: of 1, +81\n");
  setup.edge.Ack(2, "80 81");
  CHECK(setup.Refused().starts_with("203.0.113.1 tcp/443 Feature"));
  // Upgraded, it is asked for everything.
  setup.edge.End(absl::UnavailableError("gone"));
  setup.edge.knows_access = true;
  setup.loop.Advance(seconds(1));
  setup.edge.Heard();
  setup.edge.Welcome("80 81");
  CHECK(setup.edge.Heard() == "1: snapshot 80 81 443\n");
  CHECK(setup.progress().connected);
}

TEST_CASE("edge_syncer: an edge that has it all is sent nothing",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("80 443");
  setup.edge.Welcome("80 443");
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80 443\n");
  CHECK(setup.Answered() == "2");
  setup.Want("80 443 8080");
  CHECK(setup.edge.Heard() == "1: of 0, +8080\n");
}

TEST_CASE("edge_syncer: a change of an accepted state is sent as a delta",
          "[edge_syncer]") {
  Setup setup("80 443");
  setup.Want("443 8080");
  CHECK(setup.edge.Heard() == "2: of 1, +8080 -80\n");
  setup.edge.Ack(2, "443 8080");
  setup.Want("443 8080");
  CHECK(setup.edge.Heard() == "");
  setup.Want("443");
  CHECK(setup.edge.Heard() == "3: of 2, -8080\n");
}

TEST_CASE("edge_syncer: what no message can carry is sent as a snapshot",
          "[edge_syncer]") {
  Setup setup("80");
  protocol::EdgeState state = setup.edge.Make("80 81")->state();
  for (int n = 0; n < 10; ++n) {
    protocol::Group& group = state.groups.emplace_back();
    group.name = fmt::format("g-{}", n);
    for (int i = 0; i < 1'024; ++i) {
      group.access.deny.push_back(
          IpPrefix::Parse(fmt::format("2001:db8::{:x}/128", i)).value());
    }
  }
  setup.syncer->Want(
      std::make_shared<const protocol::DigestedState>(std::move(state)));
  CHECK(setup.edge.Heard() == "2: snapshot 80 81\n");
}

TEST_CASE("edge_syncer: one version is on its way at a time", "[edge_syncer]") {
  Setup setup("80");
  setup.Want("80 81");
  setup.Want("80 81 82");
  setup.Want("80 82");
  CHECK(setup.edge.Heard() == "2: of 1, +81\n");
  setup.edge.Ack(1, "80");  // late, of another version
  CHECK(setup.edge.Heard() == "");
  setup.edge.Ack(2, "80 81");
  CHECK(setup.edge.Heard() == "3: of 2, +82 -81\n");
  CHECK(setup.Answered() == "2");
}

TEST_CASE("edge_syncer: a wish that was taken back in flight is undone",
          "[edge_syncer]") {
  Setup setup("80");
  setup.Want("80 81");
  setup.Want("80");
  setup.edge.Ack(2, "80 81");
  CHECK(setup.edge.Heard() == "2: of 1, +81\n3: of 2, -81\n");
}

TEST_CASE("edge_syncer: a wish before the welcome goes into the snapshot",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("80");
  setup.Want("80 81");
  setup.edge.Welcome("");
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80\n1: snapshot 80 81\n");
}

TEST_CASE("edge_syncer: asks again for what was refused with the next change",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("22 80");
  setup.edge.Welcome("");
  setup.edge.Ack(1, "80", {Refuse(22, "ReservedPort")});
  CHECK(setup.Refused() == "203.0.113.1 tcp/22 ReservedPort: it is so\n");
  CHECK(setup.Answered() == "2");
  setup.Want("22 80");
  CHECK(setup.edge.Heard() ==
        "open, epoch 7, hello 22 80\n1: snapshot 22 80\n");
  setup.Want("22 80 81");
  CHECK(setup.edge.Heard() == "2: of 1, +22 +81\n");
  setup.edge.Ack(2, "22 80 81");
  CHECK(setup.Refused() == "");
}

TEST_CASE("edge_syncer: after a new start a refusal is known to both",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("22 80");
  setup.edge.Welcome("");
  setup.edge.Ack(1, "80", {Refuse(22, "ReservedPort")});
  setup.edge.Heard();
  setup.edge.End(absl::UnavailableError("gone"));
  setup.loop.Advance(seconds(1));
  setup.edge.Welcome("80");
  CHECK(setup.edge.Heard() == "close\nopen, epoch 7, hello 80\n");
  CHECK(setup.Refused() == "203.0.113.1 tcp/22 ReservedPort: it is so\n");
}

TEST_CASE("edge_syncer: says so when a refused mapping is wanted no more",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("22 80");
  setup.edge.Welcome("");
  setup.edge.Ack(1, "80", {Refuse(22, "ReservedPort")});
  setup.edge.Heard();
  setup.changes = 0;
  setup.Want("80");
  CHECK(setup.edge.Heard() == "");
  CHECK(setup.Answered() == "1");
  CHECK(setup.Refused() == "");
  CHECK(setup.changes == 1);
}

TEST_CASE("edge_syncer: answers another base with a snapshot at once",
          "[edge_syncer]") {
  Setup setup("80");
  setup.Want("80 81");
  setup.edge.Nack(2, "base_version 1: this edge has version 0", true);
  CHECK(setup.edge.Heard() == "2: of 1, +81\n3: snapshot 80 81\n");
  CHECK(setup.progress().trouble == "base_version 1: this edge has version 0");
  setup.edge.Ack(3, "80 81");
  CHECK(setup.progress().trouble == "");
  CHECK(setup.Answered() == "2");
}

TEST_CASE("edge_syncer: waits when even a snapshot is answered by its wish",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("80");
  setup.edge.Welcome("");
  setup.edge.Nack(1, "no", true);
  CHECK(setup.edge.Heard() ==
        "open, epoch 7, hello 80\n1: snapshot 80\nclose\n");
  CHECK(setup.loop.UntilNext() >= milliseconds(100));
}

TEST_CASE("edge_syncer: a refused version is tried anew, ever more slowly",
          "[edge_syncer]") {
  Setup setup("80");
  setup.Want("80 81");
  setup.edge.Nack(2, "the kernel said no", false);
  CHECK(setup.edge.Heard() == "2: of 1, +81\nclose\n");
  CHECK(setup.progress().trouble == "the kernel said no");
  CHECK_FALSE(setup.progress().connected);
  CHECK(setup.Answered() == "1");
  milliseconds longest{};
  for (int i = 0; i < 8; ++i) {
    REQUIRE(setup.loop.UntilNext());
    longest = std::chrono::duration_cast<milliseconds>(*setup.loop.UntilNext());
    setup.loop.Advance(longest);
    setup.edge.Welcome("80");
    CHECK(setup.edge.Heard() == "open, epoch 7, hello 80\n1: of 0, +81\n");
    // Still not solved, and said so.
    CHECK(setup.progress().trouble == "the kernel said no");
    setup.edge.Nack(1, "the kernel said no", false);
    CHECK(setup.edge.Heard() == "close\n");
  }
  CHECK(longest >= milliseconds(1'500));
  CHECK(longest <= milliseconds(3'000));
}

TEST_CASE("edge_syncer: begins anew when the edge has something else",
          "[edge_syncer]") {
  Setup setup("80");
  setup.Want("80 81");
  setup.edge.Ack(2, "80");
  CHECK(setup.edge.Heard() == "2: of 1, +81\nclose\n");
  CHECK(setup.progress().trouble.find("expected") != std::string::npos);
  setup.loop.Advance(milliseconds(200));
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80 81\n");
  setup.edge.Welcome("80");
  CHECK(setup.edge.Heard() == "1: snapshot 80 81\n");
  setup.edge.Ack(1, "80 81");
  CHECK(setup.progress().trouble == "");
}

TEST_CASE("edge_syncer: reopens a stream that ended", "[edge_syncer]") {
  Setup setup("80");
  setup.edge.End(absl::UnavailableError("connection reset"));
  CHECK(setup.edge.Heard() == "close\n");
  CHECK_FALSE(setup.progress().connected);
  CHECK(setup.progress().trouble == "connection reset");
  CHECK(setup.changes == 1);
  REQUIRE(setup.loop.UntilNext());
  CHECK(*setup.loop.UntilNext() >= milliseconds(100));
  CHECK(*setup.loop.UntilNext() <= milliseconds(200));
  setup.loop.Advance(milliseconds(200));
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80\n");
  setup.edge.Welcome("80");
  CHECK(setup.edge.Heard() == "");
  CHECK(setup.progress().trouble == "");
  setup.edge.End(absl::OkStatus());
  CHECK(setup.progress().trouble == "the edge ended the stream");
}

TEST_CASE("edge_syncer: what was in flight when the stream ended is sent again",
          "[edge_syncer]") {
  Setup setup("80");
  setup.Want("80 81");
  setup.edge.End(absl::UnavailableError("gone"));
  setup.loop.Advance(milliseconds(200));
  // The edge had applied it before.
  setup.edge.Heard();
  setup.edge.Welcome("80 81");
  CHECK(setup.edge.Heard() == "");
  CHECK(setup.Answered() == "2");
}

TEST_CASE("edge_syncer: a wish during the wait opens nothing earlier",
          "[edge_syncer]") {
  Setup setup("80");
  setup.edge.End(absl::UnavailableError("gone"));
  setup.edge.Heard();
  setup.Want("80 81");
  CHECK(setup.edge.Heard() == "");
  CHECK(setup.edge.opened() == 1);
  setup.loop.Advance(milliseconds(200));
  setup.edge.Welcome("80");
  CHECK(setup.edge.Heard() == "open, epoch 7, hello 80\n1: of 0, +81\n");
  setup.edge.Ack(1, "80 81");
  setup.loop.Advance(seconds(60));
  CHECK(setup.edge.opened() == 2);
}

TEST_CASE("edge_syncer: begins anew when no answer comes", "[edge_syncer]") {
  Setup setup("80");
  setup.edge.Heard();
  setup.Want("80 81");
  setup.edge.Heard();
  setup.loop.Advance(seconds(14));
  CHECK(setup.edge.opened() == 1);
  setup.loop.Advance(seconds(2));
  CHECK(setup.edge.opened() == 2);
  CHECK(setup.progress().trouble == "no answer for 15 s");
}

TEST_CASE("edge_syncer: forgets old failures once a stream has held",
          "[edge_syncer]") {
  Setup setup;
  setup.Want("80");
  for (int i = 0; i < 8; ++i) {
    setup.edge.End(absl::UnavailableError("nobody there"));
    setup.loop.Advance(seconds(3));
  }
  setup.edge.Welcome("80");  // up to date: no result will come
  setup.edge.End(absl::UnavailableError("at once"));
  CHECK(*setup.loop.UntilNext() >= milliseconds(1'500));
  setup.loop.Advance(seconds(3));
  setup.edge.Welcome("80");
  setup.loop.Advance(seconds(60));
  setup.edge.End(absl::UnavailableError("gone"));
  CHECK(*setup.loop.UntilNext() <= milliseconds(200));
}

TEST_CASE("edge_syncer: a report tells what is not programmed",
          "[edge_syncer]") {
  Setup setup("80 443");
  EdgeLifeReport report;
  report.not_programmed = {Refuse(80, "AddressNotLocal")};
  report.mtu = 1420;
  report.digest = setup.edge.Make("443")->digest();
  setup.edge.stream()->OnReport(report);
  CHECK(setup.changes == 1);
  CHECK(setup.Refused() == "203.0.113.1 tcp/80 AddressNotLocal: it is so\n");
  CHECK(setup.progress().report.mtu == 1420);
  // It is missing in the edge's digest, which is no reason to begin anew.
  setup.Want("80 81 443");
  setup.edge.Ack(2, "81 443");
  CHECK(setup.edge.Heard() == "2: of 1, +81\n");
  CHECK(setup.progress().connected);
  setup.edge.End(absl::UnavailableError("gone"));
  setup.loop.Advance(milliseconds(200));
  setup.edge.Welcome("81 443", report);
  CHECK(setup.edge.Heard() == "close\nopen, epoch 7, hello 80 81 443\n");
  report.not_programmed.clear();
  report.digest = setup.edge.Make("80 81 443")->digest();
  setup.edge.stream()->OnReport(report);
  CHECK(setup.Refused() == "");
  CHECK(setup.progress().connected);
}

TEST_CASE("edge_syncer: a report of another state is mended by a snapshot",
          "[edge_syncer]") {
  Setup setup("80 443");
  setup.edge.Heard();
  EdgeLifeReport report;
  report.digest = setup.edge.Make("80")->digest();  // somebody took 443 away
  setup.edge.stream()->OnReport(report);
  CHECK_FALSE(setup.progress().connected);
  setup.loop.Advance(milliseconds(200));
  setup.edge.Welcome("80");
  CHECK(setup.edge.Heard() ==
        "close\nopen, epoch 7, hello 80 443\n1: snapshot 80 443\n");
}

TEST_CASE("edge_syncer: can go at any moment", "[edge_syncer]") {
  SECTION("before it wanted anything") {
    Setup setup;
    setup.syncer.reset();
    CHECK(setup.edge.Heard() == "");
  }
  SECTION("in flight") {
    Setup setup("80");
    setup.Want("80 81");
    setup.syncer.reset();
    CHECK(setup.edge.Heard() == "2: of 1, +81\nclose\n");
    CHECK(setup.loop.timers() == 0);
  }
  SECTION("while it waits") {
    Setup setup("80");
    setup.edge.End(absl::UnavailableError("gone"));
    setup.syncer.reset();
    CHECK(setup.loop.timers() == 0);
    setup.loop.Advance(seconds(60));
    CHECK(setup.edge.Heard() == "close\n");
  }
}

}  // namespace
}  // namespace edged::agent
