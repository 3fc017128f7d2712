// 60,000 mappings: that they fit, and what they cost. Times are printed for
// people; what must hold on a slow machine too is asserted.

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/nftables/client.h"
#include "common/nftables/diff.h"
#include "common/nftables/events.h"
#include "common/nftables/print.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

constexpr int kMappings = 60'000;

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

template <typename Call>
double TimeOf(const Call& call) {
  const auto begin = Clock::now();
  call();
  return Milliseconds(Clock::now() - begin);
}

void Report(const std::string& what, double milliseconds) {
  std::cout << fmt::format("      {:<44} {:9.3f} ms\n", what, milliseconds);
}

// In MiB.
double ResidentMemory() {
  std::ifstream file("/proc/self/statm");
  long size = 0, resident = 0;
  file >> size >> resident;
  return static_cast<double>(resident * sysconf(_SC_PAGESIZE)) / (1 << 20);
}

Element Mapping(int number, uint32_t mark) {
  const auto port = static_cast<uint16_t>(1 + number % 60'000);
  return {Listener("203.0.113.1", Protocol::kTcp, port),
          {},
          MarkBytes(mark),
          std::nullopt};
}

std::vector<Element> Mappings() {
  std::vector<Element> mappings;
  for (int i = 0; i < kMappings; ++i) mappings.push_back(Mapping(i, 0x100));
  return mappings;
}

// The edge's table with many mappings.
Table LargeTable() {
  Table table = EdgeTable();
  table.sets[0].elements = Mappings();
  return table;
}

}  // namespace

TEST_CASE("client: loads 60,000 mappings in one batch and changes one",
          "[client][kernel][load]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  auto client = std::move(Client::Open().value());
  const Table table = LargeTable();
  const Set& ports = table.sets[0].set;
  const double memory_before = ResidentMemory();
  {
    const Transaction everything = Diff(Listing{}, table);
    Report("load", TimeOf([&] {
             REQUIRE(client->Apply(everything) == absl::OkStatus());
           }));
  }
  malloc_trim(0);
  const double memory_after = ResidentMemory();
  std::cout << fmt::format("      {:<44} {:9.1f} MiB\n",
                           "memory kept after the load",
                           memory_after - memory_before);
#ifndef __SANITIZE_ADDRESS__  // which keeps what is freed
  CHECK(memory_after - memory_before < 8);
#endif

  Listing listing;
  Report("list", TimeOf([&] { listing = client->List("edged").value(); }));
  CHECK(listing.sets.at("ports4").elements.size() == kMappings);
  Report("difference to itself",
         TimeOf([&] { CHECK(Print(Diff(listing, table)) == ""); }));
  size_t count = 0;
  Report("stream", TimeOf([&] {
           REQUIRE(client->ForEachElement("edged", ports, [&](const Element&) {
             ++count;
           }) == absl::OkStatus());
         }));
  CHECK(count == kMappings);

  std::vector<double> rounds;
  for (int i = 0; i < 200; ++i) {
    const auto begin = Clock::now();
    Transaction change("edged");
    const Element new_mapping = Mapping(i, 0x200);
    change.Add(DeleteElements{ports, {Mapping(i, 0x100)}});
    change.Add(AddElements{ports, {new_mapping}});
    REQUIRE(client->Apply(change) == absl::OkStatus());
    const auto found = client->GetElements("edged", ports, {new_mapping});
    rounds.push_back(Milliseconds(Clock::now() - begin));
    REQUIRE(found.status() == absl::OkStatus());
    REQUIRE(*found == std::vector{new_mapping});
  }
  std::ranges::sort(rounds);
  Report("change one and read it back: median", rounds[rounds.size() / 2]);
  Report("change one and read it back: worst", rounds.back());

  std::vector<Element> keys;
  for (int i = 0; i < 10'000; ++i) keys.push_back(Mapping(i * 2, 0));
  Report("get 10,000 by key", TimeOf([&] {
           CHECK(client->GetElements("edged", ports, keys)->size() == 10'000);
         }));
  for (Element& key : keys) {
    key.key = Listener("203.0.113.2", Protocol::kTcp, 80);
  }
  Report("get 10,000 that are missing", TimeOf([&] {
           CHECK(client->GetElements("edged", ports, keys)->empty());
         }));
  const std::string text = Print(Table{"edged", {table.sets[0]}, {}});
  Report("for comparison: nft -f of the mappings", TimeOf([&] {
           CHECK(Nft("-f -", "flush ruleset\n" + text).text == "");
         }));
}

// The kernel goes on to put a set in order after the batch is over.
TEST_CASE("client: reads a set whole right after it has grown",
          "[client][kernel][load]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  const auto client = std::move(Client::Open().value());
  const Table large = LargeTable();
  const Set& ports = large.sets[0].set;
  for (size_t count = 1'000; count <= 60'000; count += 59'000 / 20) {
    Transaction load("grows");
    load.Add(AddTable{});
    load.Add(DeleteTable{});
    load.Add(AddTable{});
    load.Add(AddSet{ports});
    std::vector<Element> elements = large.sets[0].elements;
    elements.resize(count);
    load.Add(AddElements{ports, elements});
    REQUIRE(client->Apply(load) == absl::OkStatus());
    std::vector<Element> read;
    REQUIRE(client->ForEachElement("grows", ports, [&](const Element& element) {
      read.push_back(element);
    }) == absl::OkStatus());
    std::ranges::sort(read, {}, &Element::key);
    CHECK(read.size() == count);
    CHECK((read == elements));
  }
}

}  // namespace edged::nftables
