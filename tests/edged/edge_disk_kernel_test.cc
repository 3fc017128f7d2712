// An edge on a disk that is slow, or full.

#include <catch2/catch.hpp>

#include "tests/edged/edge_on_host.h"

namespace edged::edge {
namespace {

constexpr auto kBlink = milliseconds(50);
constexpr auto kSaveTime = milliseconds(700);  // a large one waits for 500 ms

std::string StoredListeners(Host& host) {
  const auto stored = StateStore(host.store.folder()).Load();
  REQUIRE(stored.status() == absl::OkStatus());
  std::string text;
  for (const auto& mapping : stored->state.mappings) {
    text += mapping.listener.ToString() + "; ";
  }
  return text;
}

TEST_CASE("edge: a slow disk holds up nobody and gets the newest state",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(kSaveTime);
  host->store.disk.Hold();
  REQUIRE(WordsOf(synced.edge->Change(synced.stream, Upsert(1, 2, Tcp(81)))) ==
          "ACK");
  host->Run(kSaveTime);
  host->store.disk.AwaitAccess();  // and it waits for the disk now
  for (const uint16_t port : {82, 83, 84}) {
    REQUIRE(WordsOf(synced.edge->Change(
                synced.stream, Upsert(port - 80, port - 79, Tcp(port)))) ==
            "ACK");
    host->Run(kSaveTime);  // timers and descriptors have their turn meanwhile
  }
  CHECK(StoredListeners(*host) == "203.0.113.1 tcp/80; ");
  CHECK(StatusOf(*synced.edge).warnings.empty());
  host->store.disk.Release();
  // How long a write takes is the machine's business.
  const std::string all =
      "203.0.113.1 tcp/80; 203.0.113.1 tcp/81; 203.0.113.1 tcp/82; "
      "203.0.113.1 tcp/83; 203.0.113.1 tcp/84; ";
  for (int i = 0; i < 100 && StoredListeners(*host) != all; ++i) {
    host->Run(kBlink);
  }
  CHECK(StoredListeners(*host) == all);
}

TEST_CASE("edge: a change is on the disk at once, for whoever is killed",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(milliseconds(150));
  CHECK(StoredListeners(*host) == "203.0.113.1 tcp/80; ");
}

TEST_CASE("edge: Register and a new epoch are on the disk when they are told",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->store.disk.Hold();
  host->store.disk.ReleaseAfter(kBlink);
  REQUIRE(synced.edge->Register(
              {.epoch = {"x", 2}, .uplink = SampleState().uplinks[0]}) ==
          absl::OkStatus());
  const auto registered = StateStore(host->store.folder()).Load();
  CHECK(registered->epoch == Epoch{"x", 2});
  CHECK(!registered->state.uplinks.empty());

  host->store.disk.Hold();
  host->store.disk.ReleaseAfter(kBlink);
  Stream& stream = host->NewStream();
  REQUIRE(synced.edge->Open({.epoch = {"x", 3}}, stream).ok());
  CHECK(StateStore(host->store.folder()).Load()->epoch == Epoch{"x", 3});
}

TEST_CASE("edge: a full disk is told, and written when it has room again",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  Synced synced(*host);
  host->Run(kSaveTime);
  host->store.disk.FailNext();
  REQUIRE(WordsOf(synced.edge->Change(synced.stream, Upsert(1, 2, Tcp(81)))) ==
          "ACK");
  host->Run(kSaveTime);
  CHECK(StatusOf(*synced.edge).warnings ==
        std::vector<std::string>{"StateNotDurable: No space left on device"});
  host->Run(milliseconds(2'200));  // it tries again every 2 s
  CHECK(StatusOf(*synced.edge).warnings.empty());
  CHECK(StoredListeners(*host) == "203.0.113.1 tcp/80; 203.0.113.1 tcp/81; ");
}

TEST_CASE("edge: it ends, or is removed, after what is being written",
          "[edge]") {
  const auto host = Host::Make();
  if (!host) return;
  {
    Synced synced(*host);
    host->store.disk.Hold();
    host->Run(kSaveTime);
    host->store.disk.ReleaseAfter(kBlink);
  }
  CHECK(StoredListeners(*host) == "203.0.113.1 tcp/80; ");

  const auto edge = host->NewEdge();
  Stream& stream = host->NewStream();
  REQUIRE(edge->Open({.epoch = {"x", 2}}, stream).ok());
  REQUIRE(WordsOf(edge->Change(stream, Snapshot(1, {Tcp(81)}))) == "ACK");
  host->store.disk.Hold();
  host->Run(kSaveTime);
  host->store.disk.ReleaseAfter(kBlink);
  REQUIRE(edge->Remove() == absl::OkStatus());
  CHECK(*host->store.Load() == StoredState());
}

}  // namespace
}  // namespace edged::edge
