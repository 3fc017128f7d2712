#include "edged/core/listener_table.h"

#include <catch2/catch.hpp>

#include "tests/edged/core/sample_edge.h"

namespace edged::edge {
namespace {

std::string Shown(const PortTable& table) {
  std::string text;
  table.ForEach([&](const PortTable::Entry& entry) {
    if (!text.empty()) text += ' ';
    text += entry.ports.ToString() + "=" + std::to_string(entry.number);
  });
  return text;
}

std::string Shown(const std::optional<PortTable::Entry>& entry) {
  return entry ? entry->ports.ToString() : "none";
}

TEST_CASE("port_table: lists single ports and ranges in order",
          "[listener_table]") {
  PortTable table;
  table.Set({65535, 65535}, 1);
  table.Set({50000, 50100}, 2);
  table.Set({80, 80}, 3);
  table.Set({1, 79}, 4);
  table.Set({255, 256}, 5);
  CHECK(Shown(table) == "1-79=4 80=3 255-256=5 50000-50100=2 65535=1");
  CHECK(table.size() == 5);

  table.Set({80, 80}, 9);
  CHECK(table.size() == 5);
  table.Erase({1, 80});  // not an entry
  table.Erase({1, 79});
  table.Erase({65535, 65535});
  table.Erase({65535, 65535});
  CHECK(Shown(table) == "80=9 255-256=5 50000-50100=2");
  CHECK(table.size() == 3);
}

TEST_CASE("port_table: finds exactly or by a port that is held",
          "[listener_table]") {
  PortTable table;
  table.Set({443, 443}, 1);
  table.Set({1000, 2000}, 2);
  CHECK(table.Find({443, 443}) == 1);
  CHECK(table.Find({1000, 2000}) == 2);
  CHECK(table.Find({1000, 1999}) == 0);
  CHECK(table.Find({1000, 1000}) == 0);
  CHECK(Shown(table.At(443)) == "443");
  CHECK(Shown(table.At(444)) == "none");
  CHECK(Shown(table.At(1000)) == "1000-2000");
  CHECK(Shown(table.At(2000)) == "1000-2000");
  CHECK(Shown(table.At(2001)) == "none");
}

TEST_CASE("port_table: the first overlap may begin before or lie within",
          "[listener_table]") {
  PortTable table;
  table.Set({1000, 2000}, 1);
  table.Set({2500, 2500}, 2);
  table.Set({3000, 3010}, 3);
  CHECK(Shown(table.FirstOverlap({1, 65535})) == "1000-2000");
  CHECK(Shown(table.FirstOverlap({2000, 2600})) == "1000-2000");
  CHECK(Shown(table.FirstOverlap({2001, 65535})) == "2500");
  CHECK(Shown(table.FirstOverlap({2501, 65535})) == "3000-3010");
  CHECK(Shown(table.FirstOverlap({3011, 65535})) == "none");
  CHECK(Shown(table.FirstOverlap({1, 999})) == "none");
}

TEST_CASE("listener_table: keeps addresses and protocols apart",
          "[listener_table]") {
  ListenerTable table;
  table.Set(Tcp(53), 1);
  table.Set(Udp(53), 2);
  table.Set(At("203.0.113.2", Protocol::kTcp, 53), 3);
  table.Set(At("2001:db8::1", Protocol::kTcp, 50, 60), 4);
  CHECK(table.Find(Udp(53)) == 2);
  CHECK(table.CountOn(Ip("203.0.113.1")) == 2);
  CHECK(table.CountOn(Ip("203.0.113.9")) == 0);
  CHECK(Shown(table.At(Ip("2001:db8::1"), Protocol::kTcp, 53)) == "50-60");
  CHECK(Shown(table.At(Ip("2001:db8::1"), Protocol::kUdp, 53)) == "none");

  std::string order;
  table.ForEach([&](const protocol::Listener& listener, uint16_t) {
    order += listener.ToString() + "\n";
  });
  CHECK(order ==
        "203.0.113.1 tcp/53\n203.0.113.1 udp/53\n203.0.113.2 tcp/53\n"
        "2001:db8::1 tcp/50-60\n");
  table.Erase(Udp(53));
  table.Erase(Udp(54));
  CHECK(table.size() == 3);
}

}  // namespace
}  // namespace edged::edge
