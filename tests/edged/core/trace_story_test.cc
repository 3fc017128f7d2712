#include "edged/core/trace_story.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_host.h"

namespace edged::edge {
namespace {

using nftables::AnyChain;
using nftables::AnyHook;
using nftables::AnyTable;
using nftables::TracedPacket;
using nftables::TraceEvent;
using nftables::TraceStep;
using nftables::TraceVerdict;
using Time = TraceStory::Time;

AnyChain Base(const char* name, uint32_t hook) {
  return {.name = name, .hook = AnyHook{"filter", hook, 0, {}}};
}

AnyTable TableOf(const char* name, std::vector<AnyChain> chains) {
  AnyTable table{.family = NFPROTO_INET, .name = name};
  for (AnyChain& chain : chains) table.chains[chain.name] = std::move(chain);
  return table;
}

TraceScene Scene() {
  TraceScene scene;
  scene.target = *ParseTraceTarget("203.0.113.1:80");
  scene.interfaces = {{2, {"eth0", true}}, {3, {"edged0", true}}};
  scene.uplinks = {{AddressOf("10.200.0.17"), "home"}};
  AnyChain firewall = Base("FORWARD", NF_INET_FORWARD);
  firewall.rules = {{5,
                     {nftables::LoadMeta{NFT_META_OIFNAME, 0},
                      nftables::Compare{nftables::Comparison::kEqual,
                                        nftables::NameBytes("edged0"), 0},
                      nftables::Verdict{nftables::VerdictKind::kDrop, ""}}}};
  AnyChain group{.name = "group-web"};
  group.rules = {{9, {nftables::Refuse{NFT_REJECT_TCP_RST, 0}}}};
  scene.tables = {
      TableOf(kTraceTable, {Base("prerouting", NF_INET_PRE_ROUTING),
                            Base("output", NF_INET_LOCAL_OUT),
                            Base("input", NF_INET_LOCAL_IN),
                            Base("postrouting", NF_INET_POST_ROUTING)}),
      TableOf("edged", {Base("forward", NF_INET_FORWARD), group}),
      TableOf("filter", {firewall})};
  return scene;
}

TracedPacket Request(uint16_t port = 4000) {
  return {.in = 2,
          .source = AddressOf("198.51.100.9"),
          .destination = AddressOf("203.0.113.1"),
          .protocol = 6,
          .source_port = port,
          .destination_port = 80,
          .tcp_flags = 2};
}

TracedPacket Translated(uint32_t out) {
  TracedPacket packet = Request();
  packet.destination = AddressOf("10.200.0.17");
  packet.out = out;
  return packet;
}

TracedPacket Reply(uint8_t flags = 18) {
  return {.in = 3,
          .source = AddressOf("10.200.0.17"),
          .destination = AddressOf("198.51.100.9"),
          .protocol = 6,
          .source_port = 80,
          .destination_port = 4000,
          .tcp_flags = flags};
}

TraceEvent Marked(uint32_t id, TracedPacket packet) {
  return {.id = id,
          .family = NFPROTO_INET,
          .table = kTraceTable,
          .chain = "prerouting",
          .packet = packet};
}

TraceEvent Passes(uint32_t id, const char* table, const char* chain,
                  std::optional<TracedPacket> packet = {}) {
  return {.id = id,
          .family = NFPROTO_INET,
          .table = table,
          .chain = chain,
          .step = TraceStep::kPolicy,
          .verdict = TraceVerdict::kAccept,
          .packet = packet};
}

TraceEvent Drops(uint32_t id, const char* table, const char* chain,
                 uint64_t handle, std::optional<TracedPacket> packet = {}) {
  return {.id = id,
          .family = NFPROTO_INET,
          .table = table,
          .chain = chain,
          .step = handle == 0 ? TraceStep::kPolicy : TraceStep::kRule,
          .verdict = TraceVerdict::kDrop,
          .rule_handle = handle,
          .packet = packet};
}

// A story and all that it says.
class Told {
 public:
  explicit Told(TraceScene scene = Scene(), size_t flows = 5)
      : story(std::move(scene), flows) {}

  void Take(const TraceEvent& event, int at = 0) {
    Add(story.Take(event, Time(at)));
  }
  void Wait(int at) { Add(story.Wait(Time(at))); }
  void Finish(int at) { Add(story.Finish(Time(at), false)); }
  void SendInto(uint32_t id, int at = 0) {
    Take(Marked(id, Request()), at);
    Take({.id = id,
          .family = NFPROTO_INET,
          .table = "edged",
          .chain = "group-web",
          .verdict = TraceVerdict::kAccept},
         at);
    Take(Passes(id, "edged", "forward", Translated(3)), at);
    Take(Passes(id, kTraceTable, "postrouting", Translated(3)), at);
  }

  std::string text() { return std::exchange(text_, ""); }
  TraceStory story;

 private:
  void Add(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) text_ += line + "\n";
  }
  std::string text_;
};

}  // namespace

TEST_CASE("trace_story: into the tunnel and back", "[trace_story]") {
  Told told;
  told.SendInto(1);
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
        "  arrived on eth0\n"
        "  translated to 10.200.0.17:80, uplink home, by group web\n"
        "  sent into the tunnel by edged0\n");
  TracedPacket answer = Reply();
  told.Take(Marked(2, answer), 30);
  answer.out = 2;
  told.Take(Passes(2, kTraceTable, "postrouting", answer), 31);
  CHECK(
      told.text() ==
      "198.51.100.9:4000: came back from home after 31 ms, sent on by eth0\n");
  CHECK(told.story.all_answered());
  told.SendInto(3, 50);  // more of the same connection
  CHECK(told.text() == "");
  told.Finish(1'500);
  CHECK(told.text() == "1 connection in 2 s: 1 answered\n");
}

TEST_CASE("trace_story: a rule of others drops it", "[trace_story]") {
  Told told;
  told.Take(Marked(1, Request()));
  told.Take(Drops(1, "filter", "FORWARD", 5, Translated(3)));
  CHECK(
      told.text() ==
      "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
      "  arrived on eth0\n"
      "  translated to 10.200.0.17:80, uplink home (as its connection's first "
      "packet)\n"
      "  dropped by `oifname \"edged0\" drop` (handle 5) of table inet "
      "filter, chain FORWARD\n"
      "  $ nft -a list chain inet filter FORWARD\n");
  told.Take(Marked(2, Request()), 1'000);  // tried again
  told.Take(Drops(2, "filter", "FORWARD", 5, Translated(3)), 1'000);
  CHECK(told.text() == "");
  CHECK_FALSE(told.story.all_answered());
  told.Finish(2'000);
  CHECK(told.text() == "1 connection in 2 s: 1 dropped\n");
}

TEST_CASE("trace_story: a rule of others translates it first",
          "[trace_story]") {
  TraceScene scene = Scene();
  AnyTable nat{.family = NFPROTO_IPV4, .name = "nat"};
  nat.chains["PREROUTING"] = {
      .name = "PREROUTING",
      .hook = AnyHook{"nat", NF_INET_PRE_ROUTING, -150, {}}};
  nat.chains["DOCKER"] = {.name = "DOCKER",
                          .rules = {{7, {nftables::Translate{"dnat"}}}}};
  scene.tables.push_back(nat);
  Told told(std::move(scene));
  told.Take(Marked(1, Request()));
  told.Take({.id = 1,
             .family = NFPROTO_IPV4,
             .table = "nat",
             .chain = "DOCKER",
             .verdict = TraceVerdict::kAccept,
             .rule_handle = 7});
  TracedPacket elsewhere = Translated(2);
  elsewhere.destination = AddressOf("172.17.0.2");
  told.Take(Passes(1, kTraceTable, "postrouting", elsewhere));
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
        "  arrived on eth0\n"
        "  taken: sent to 172.17.0.2:80\n"
        "  by `dnat` (handle 7) of table ip nat (docker), chain DOCKER, which "
        "comes before edged\n"
        "  $ nft -a list chain ip nat DOCKER\n"
        "  sent on by eth0, not into the tunnel\n");
  told.Finish(1'000);
  CHECK(told.text() == "1 connection in 1 s: 1 led elsewhere\n");
}

TEST_CASE("trace_story: a route of others leads it elsewhere",
          "[trace_story]") {
  TraceScene scene = Scene();
  scene.other_way = [](const TracedPacket& arrived, const IpAddress& mapping) {
    return OtherWay{fmt::format("route {} for {}", mapping.ToString(),
                                arrived.source.ToString()),
                    {"ip route del it"}};
  };
  const std::string way =
      "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
      "  arrived on eth0\n"
      "  translated to 10.200.0.17:80, uplink home, by group web\n";
  const std::string other =
      "  led away from edged0 by route 10.200.0.17 for 198.51.100.9\n"
      "  $ ip route del it\n";
  Told told(std::move(scene));
  told.Take(Marked(1, Request()));
  told.Take({.id = 1,
             .family = NFPROTO_INET,
             .table = "edged",
             .chain = "group-web",
             .verdict = TraceVerdict::kAccept});
  told.Take(Passes(1, kTraceTable, "prerouting"));
  SECTION("and our own rule drops it there") {
    told.Take(Drops(1, "edged", "forward", 3, Translated(2)));
    CHECK(told.text() ==
          way +
              "  dropped by a rule with handle 3 of table inet edged, chain "
              "forward\n" +
              other);
  }
  SECTION("and nothing is heard of it again") {
    told.Wait(1'000);
    CHECK(told.text() ==
          "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
          "  arrived on eth0\n"
          "  went no further after the rules of prerouting\n" +
              other);
  }
  SECTION("and it leaves") {
    told.Take(Passes(1, kTraceTable, "postrouting", Translated(2)));
    CHECK(told.text() ==
          way + "  sent on by eth0, not into the tunnel\n" + other);
  }
}

TEST_CASE("trace_story: a policy drops it", "[trace_story]") {
  Told told;
  told.Take(Marked(1, Request()));
  told.Take(Drops(1, "filter", "FORWARD", 0, Translated(3)));
  CHECK(told.text().find("  dropped by the policy of table inet filter, chain "
                         "FORWARD\n") != std::string::npos);
}

TEST_CASE("trace_story: a group without uplinks refuses", "[trace_story]") {
  Told told;
  told.Take(Marked(1, Request()));
  told.Take(Drops(1, "edged", "group-web", 9));
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
        "  arrived on eth0\n"
        "  refused by `reject` (handle 9) of table inet edged, chain "
        "group-web\n"
        "  that is how group web says that none of its uplinks is alive\n"
        "  $ nft -a list chain inet edged group-web\n");
}

TEST_CASE("trace_story: nothing maps it", "[trace_story]") {
  Told told;
  told.Take(Marked(1, Request()));
  told.Take(Passes(1, kTraceTable, "input", Request()));
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
        "  arrived on eth0\n"
        "  not translated: it belongs to a connection from before the mapping, "
        "or edged's table is not there\n"
        "  given to this host's own programs\n"
        "  $ edged status\n");
  told.Take(Marked(2, Request(4001)));
  told.Take(Passes(2, "edged", "prerouting"));
  told.Take(Passes(2, kTraceTable, "input", Request(4001)));
  CHECK_THAT(told.text(),
             Catch::Contains("not translated: 203.0.113.1 tcp/80 is not mapped "
                             "here\n"));
  told.Take(Marked(3, Request(4002)));
  told.Take({.id = 3,
             .family = NFPROTO_INET,
             .table = "edged",
             .chain = "translate",
             .step = TraceStep::kRule,
             .verdict = TraceVerdict::kAccept});
  told.Take(Passes(3, kTraceTable, "input", Request(4002)));
  CHECK_THAT(told.text(),
             Catch::Contains("not translated: 203.0.113.1 tcp/80 is reserved, "
                             "by edged.yaml or for the tunnel\n"));
}

TEST_CASE("trace_story: what this host sends to itself is told when it is in",
          "[trace_story]") {
  TraceScene scene = Scene();
  scene.interfaces[1] = {"lo", true, true};
  Told told(scene);
  TracedPacket out = Request();
  out.in = 0;
  out.out = 1;
  TraceEvent begins = Marked(1, out);
  begins.chain = "output";
  told.Take(begins);
  told.Take(Passes(1, kTraceTable, "postrouting", out));
  CHECK(told.text() == "");
  TracedPacket in = Request();
  in.in = 1;
  told.Take(Marked(2, in));
  told.Take(Passes(2, kTraceTable, "input", in));
  CHECK_THAT(told.text(), Catch::Contains("  arrived on lo\n"
                                          "  not translated: "));
}

TEST_CASE("trace_story: the kernel's routing loses it", "[trace_story]") {
  TraceScene scene = Scene();
  scene.interfaces[2].forwards = false;
  Told told(scene);
  told.Take(Marked(1, Request()));
  told.Take(Passes(1, kTraceTable, "prerouting"));
  told.Wait(100);
  CHECK(told.text() == "");
  told.Wait(600);
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80\n"
        "  arrived on eth0\n"
        "  went no further after the rules of prerouting\n"
        "  eth0 does not forward\n"
        "  $ sysctl -w net.ipv4.conf.eth0.forwarding=1\n");
}

TEST_CASE("trace_story: no answer comes", "[trace_story]") {
  Told told;
  told.SendInto(1);
  told.text();
  told.Wait(2'900);
  CHECK(told.text() == "");
  told.Wait(3'000);
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80: nothing came back from home "
        "within 3 s\n"
        "  look at the uplink and the target: their firewalls, or a target "
        "that does not answer\n"
        "  $ clusteragent status\n");
}

TEST_CASE("trace_story: the target refuses", "[trace_story]") {
  Told told;
  told.SendInto(1);
  told.text();
  SECTION("by a reset") {
    constexpr uint8_t kReset = 4;
    told.Take(Marked(2, Reply(kReset)), 5);
    TracedPacket answer = Reply(kReset);
    answer.out = 2;
    told.Take(Passes(2, kTraceTable, "postrouting", answer), 5);
    CHECK(
        told.text().starts_with("198.51.100.9:4000: came back from home as a "
                                "TCP reset after 5 ms, sent on by eth0\n"));
  }
  SECTION("by an error of ICMP") {
    TracedPacket error{.in = 3,
                       .source = AddressOf("10.200.0.17"),
                       .destination = AddressOf("198.51.100.9"),
                       .protocol = 1,
                       .icmp_type = 3,
                       .icmp_code = 3};
    told.Take(Marked(2, error), 5);
    error.out = 2;
    told.Take(Passes(2, kTraceTable, "postrouting", error), 5);
    CHECK(told.text().starts_with(
        "198.51.100.9:4000: came back from home as an ICMP error (unreachable) "
        "after 5 ms, sent on by eth0\n"));
  }
  CHECK_FALSE(told.story.all_answered());
}

TEST_CASE("trace_story: an answer that a rule drops", "[trace_story]") {
  Told told;
  told.SendInto(1);
  told.text();
  told.Take(Marked(2, Reply()), 9);
  told.Take(Drops(2, "filter", "FORWARD", 0), 9);
  CHECK(told.text() ==
        "198.51.100.9:4000 to 203.0.113.1 tcp/80: the answer came out of the "
        "tunnel\n"
        "  dropped by the policy of table inet filter, chain FORWARD\n"
        "  $ nft -a list chain inet filter FORWARD\n");
}

TEST_CASE("trace_story: nothing arrives", "[trace_story]") {
  Told told;
  told.Finish(30'000);
  CHECK(told.text() ==
        "nothing arrived in 30 s\n"
        "  packets to 203.0.113.1 tcp/80 do not reach this host: the "
        "provider's firewall must let tcp 80 in, or clients ask another "
        "address\n");
  CHECK_FALSE(told.story.all_answered());
}

TEST_CASE("trace_story: no more flows than were asked for", "[trace_story]") {
  Told told(Scene(), 2);
  for (const uint16_t port : {4000, 4001, 4002}) {
    told.Take(Marked(port, Request(port)));
    told.Take(Passes(port, kTraceTable, "input", Request(port)));
  }
  CHECK(told.text().find("4002") == std::string::npos);
  CHECK(told.story.complete());
  CHECK(told.story.packets() == 2);
}

TEST_CASE("trace_story: others' traced packets are not ours", "[trace_story]") {
  Told told;
  told.Take(Drops(7, "filter", "FORWARD", 5, Request()));
  told.Take(Passes(7, "filter", "FORWARD"));
  told.Finish(1'000);
  CHECK(told.text().starts_with("nothing arrived"));
}

}  // namespace edged::edge
