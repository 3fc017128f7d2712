#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/nftables/client.h"
#include "common/nftables/diff.h"
#include "common/nftables/events.h"
#include "tests/common/nftables/nft_tool.h"
#include "tests/common/nftables/sample_tables.h"

namespace edged::nftables {
namespace {

std::string TextOf(const Event& event) {
  constexpr const char* kObjects[] = {"table", "chain",    "rule",
                                      "set",   "elements", "other"};
  return fmt::format("{}{} {} {}", event.kind == EventKind::kAdded ? "+" : "-",
                     kObjects[static_cast<int>(event.object)], event.table,
                     event.name);
}

std::vector<Event> ReadAll(Events& events) {
  std::vector<Event> read;
  REQUIRE(events.Read([&](const Event& event) { read.push_back(event); }) ==
          absl::OkStatus());
  return read;
}

std::vector<std::string> TextsOf(const std::vector<Event>& events) {
  std::vector<std::string> texts;
  for (const Event& event : events) texts.push_back(TextOf(event));
  return texts;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("events: tell our changes from those of others", "[events][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  const auto client = std::move(Client::Open().value());
  Events events = std::move(Events::Open().value());
  const Set marks{"marks", {Type::kMark}, {}, false, false};
  Transaction own("edged");
  own.Add(AddTable{});
  own.Add(AddSet{marks});
  own.Add(AddElements{marks,
                      {{MarkBytes(1), {}, {}, std::nullopt},
                       {MarkBytes(2), {}, {}, std::nullopt}}});
  own.Add(AddChain{{"translate", {}, {}}});
  own.Add(AddRule{"translate", {{Counter{}}}});
  REQUIRE(client->Apply(own) == absl::OkStatus());

  std::vector<Event> read = ReadAll(events);
  CHECK(TextsOf(read) ==
        Texts{"+table edged ", "+set edged marks", "+elements edged marks",
              "+chain edged translate", "+rule edged translate"});
  for (const Event& event : read) {
    CHECK(event.port == client->port());
    CHECK(event.pid == static_cast<uint32_t>(getpid()));
    CHECK(event.process == "common_nftables");  // as the kernel cuts it
  }

  REQUIRE(Nft("add element inet edged marks { 3, 4 }").text == "");
  REQUIRE(Nft("add table ip edged").text == "");  // of another family
  REQUIRE(Nft("flush chain inet edged translate").text == "");
  REQUIRE(Nft("flush ruleset").text == "");
  read = ReadAll(events);
  CHECK(TextsOf(read) == Texts{"+elements edged marks", "-rule edged translate",
                               "-set edged marks", "-chain edged translate",
                               "-table edged "});
  CHECK(read[0].count == 2);
  REQUIRE(read[0].elements.size() == 2);
  CHECK(read[0].elements[0].key == MarkBytes(3));
  CHECK(read[0].elements[1].key == MarkBytes(4));
  CHECK(read[1].count == 1);
  for (const Event& event : read) {
    CHECK(event.port != client->port());
    CHECK(event.pid != 0);
    CHECK(event.process == "nft");
  }
  CHECK(ReadAll(events).empty());
}

TEST_CASE("events: tell the elements of a flush as long as they are few",
          "[events][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  for (const size_t count : {64, 65}) {
    Nft("flush ruleset");
    const auto client = std::move(Client::Open().value());
    const Set marks{"marks", {Type::kMark}, {}, false, false};
    Transaction load("edged");
    load.Add(AddTable{});
    load.Add(AddSet{marks});
    std::vector<Element> elements(count);
    for (uint32_t i = 0; i < count; ++i) elements[i].key = MarkBytes(i);
    load.Add(AddElements{marks, elements});
    REQUIRE(client->Apply(load) == absl::OkStatus());
    Events events = std::move(Events::Open().value());
    REQUIRE(Nft("flush set inet edged marks").text == "");
    const std::vector<Event> read = ReadAll(events);
    REQUIRE(TextsOf(read) == Texts{"-elements edged marks"});
    CHECK(read[0].count == count);
    CHECK(read[0].elements.size() == 64);
  }
}

TEST_CASE("events: are not seen while suspended", "[events][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  Events events = std::move(Events::Open().value());
  REQUIRE(events.Suspend() == absl::OkStatus());
  REQUIRE(Nft("add table inet edged").text == "");
  REQUIRE(events.Resume() == absl::OkStatus());
  CHECK(ReadAll(events).empty());
  REQUIRE(Nft("delete table inet edged").text == "");
  CHECK(TextsOf(ReadAll(events)) == Texts{"-table edged "});
}

TEST_CASE("events: say that some were lost", "[events][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  Nft("flush ruleset");
  const auto client = std::move(Client::Open().value());
  Events events = std::move(Events::Open().value());
  const Set marks{"marks", {Type::kMark}, {}, false, false};
  std::vector<Element> many;
  // Each takes a page of kernel memory until the batch is over.
  for (uint32_t mark = 0; mark < 24'000; ++mark) {
    many.emplace_back().key = MarkBytes(mark);
  }
  Transaction load("edged");
  load.Add(AddTable{});
  load.Add(AddSet{marks});
  load.Add(AddElements{marks, many});
  REQUIRE(client->Apply(load) == absl::OkStatus());
  const auto ignore = [](const Event&) {};
  absl::Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) status = events.Read(ignore);
  CHECK(absl::IsUnavailable(status));
  // It goes on after that.
  for (int i = 0; i < 100 && !status.ok(); ++i) status = events.Read(ignore);
  REQUIRE(status == absl::OkStatus());
  REQUIRE(Nft("delete table inet edged").text == "");
  std::vector<std::string> texts;
  for (int i = 0; i < 100 && texts.empty(); ++i) {
    texts = TextsOf(ReadAll(events));
  }
  REQUIRE_FALSE(texts.empty());
  CHECK(texts.back() == "-table edged ");
}

}  // namespace edged::nftables
