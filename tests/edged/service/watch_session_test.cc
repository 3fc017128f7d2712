// WatchEvents, driven by a real client over a Unix socket.

#include "edged/service/watch_session.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/edged/service/running_service.h"

namespace edged::edge {
namespace {

// A WatchEvents stream as a client has it. Every call on it ends within 20 s.
class ClientWatch {
 public:
  explicit ClientWatch(RunningService& service, uint32_t recent = 0)
      : stub_(v1::EdgeService::NewStub(service.NewChannel())) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(20));
    v1::WatchEventsRequest request;
    request.set_recent(recent);
    stream_ = stub_->WatchEvents(&context, request);
    stream_->WaitForInitialMetadata();
  }

  // An empty message when the stream is over.
  v1::WatchEventsResponse Read() {
    v1::WatchEventsResponse response;
    if (!stream_->Read(&response)) response.Clear();
    return response;
  }
  grpc::Status Leave() {
    context.TryCancel();
    return End();
  }
  grpc::Status End() {
    while (Read().event_case() != v1::WatchEventsResponse::EVENT_NOT_SET) {
    }
    return stream_->Finish();
  }

  grpc::ClientContext context;

 private:
  std::unique_ptr<v1::EdgeService::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::WatchEventsResponse>> stream_;
};

EdgeEvent Event(int number, size_t length = 0) {
  return {.at = WallTime(std::chrono::seconds(number)),
          .what = Drift{.what = std::to_string(number),
                        .by = {7, "nft", 8},
                        .repair = std::string(length, 'x'),
                        .took = std::chrono::milliseconds(1500)}};
}

void Tell(RunningService& service, const EdgeEvent& event) {
  service.OnLoop([&] {
    service.api.hub.Tell(event);
    return 0;
  });
}

bool HasWatchers(RunningService& service, int count) {
  return service.Eventually(
      [&service, count] { return service.api.watchers == count; });
}

TEST_CASE("watch: events come as they happen", "[watch]") {
  RunningService service;
  ClientWatch watch(service);
  REQUIRE(HasWatchers(service, 1));
  Tell(service, Event(3));
  const v1::WatchEventsResponse response = watch.Read();
  CHECK(response.at().seconds() == 3);
  const v1::Drift& drift = response.drift();
  CHECK(drift.part() == v1::DRIFT_PART_TABLE);
  CHECK(drift.what() == "3");
  CHECK(drift.by().pid() == 7);
  CHECK(drift.by().process() == "nft");
  CHECK(drift.by().netlink_port() == 8);
  CHECK(drift.took().seconds() == 1);
  CHECK(drift.took().nanos() == 500'000'000);

  Tell(service, {.what = Flood{.over = true,
                               .changes = 5,
                               .repairs = 2,
                               .lasted = std::chrono::seconds(4)}});
  const v1::Flood flood = watch.Read().flood();
  CHECK(flood.over());
  CHECK(flood.changes() == 5);
  CHECK(flood.repairs() == 2);
  CHECK(flood.lasted().seconds() == 4);
}

TEST_CASE("watch: who comes later may ask for what was", "[watch]") {
  RunningService service;
  for (int i = 1; i <= 5; ++i) Tell(service, Event(i));
  ClientWatch watch(service, 2);
  CHECK(watch.Read().drift().what() == "4");
  CHECK(watch.Read().drift().what() == "5");
}

TEST_CASE("watch: a slow watcher is told how many it lost", "[watch]") {
  RunningService service;
  ClientWatch slow(service);
  ClientWatch quick(service);
  REQUIRE(HasWatchers(service, 2));
  // What gRPC itself takes ahead is some hundred kilobytes.
  constexpr int kEvents = 4'000;
  int got = 0;
  for (int i = 1; i <= kEvents; ++i) {
    Tell(service, Event(i, 4'000));
    if (quick.Read().drift().what() == std::to_string(i)) ++got;
  }
  CHECK(got == kEvents);
  int read = 0;
  uint64_t lost = 0;
  int last = 0;
  bool ordered = true;
  while (read + static_cast<int>(lost) < kEvents) {
    const v1::WatchEventsResponse response = slow.Read();
    REQUIRE(response.event_case() != v1::WatchEventsResponse::EVENT_NOT_SET);
    if (response.has_lost()) {
      lost += response.lost().count();
      last += static_cast<int>(response.lost().count());
    } else {
      ++read;
      ordered &= response.drift().what() == std::to_string(++last);
    }
  }
  CHECK(ordered);
  CHECK(lost > 0);
  CHECK(read >= static_cast<int>(WatchSession::kMostWaiting));
  Tell(service, Event(kEvents + 1));
  CHECK(slow.Read().drift().what() == std::to_string(kEvents + 1));
}

TEST_CASE("watch: a watcher that leaves is forgotten", "[watch]") {
  RunningService service;
  {
    ClientWatch watch(service);
    REQUIRE(HasWatchers(service, 1));
    CHECK(watch.Leave().error_code() == grpc::StatusCode::CANCELLED);
  }
  CHECK(HasWatchers(service, 0));
  Tell(service, Event(1));
}

TEST_CASE("watch: the 65th is refused", "[watch]") {
  RunningService service;
  std::vector<std::unique_ptr<ClientWatch>> watches;
  for (int i = 0; i < 64; ++i) {
    watches.push_back(std::make_unique<ClientWatch>(service));
  }
  REQUIRE(HasWatchers(service, 64));
  ClientWatch refused(service);
  CHECK(refused.Read().event_case() == v1::WatchEventsResponse::EVENT_NOT_SET);
  CHECK(refused.End().error_message() == "64 watch already");
  for (auto& watch : watches) watch->Leave();
  CHECK(HasWatchers(service, 0));
}

TEST_CASE("watch: names that are no text arrive as text", "[watch]") {
  RunningService service;
  ClientWatch watch(service);
  REQUIRE(HasWatchers(service, 1));
  Tell(service,
       {.what = Drift{.what = "set \xff\xfe deleted",
                      .by = {.pid = 1, .process = "na\xc3\xafve\xc3"}}});
  const v1::Drift drift = watch.Read().drift();
  CHECK(drift.what() == "set ?? deleted");
  CHECK(drift.by().process() == "na\xc3\xafve?");
}

TEST_CASE("watch: the server stops while somebody watches", "[watch]") {
  RunningService service;
  ClientWatch watch(service);
  REQUIRE(HasWatchers(service, 1));
  service.server.reset();
  CHECK(watch.Read().event_case() == v1::WatchEventsResponse::EVENT_NOT_SET);
  CHECK(HasWatchers(service, 0));
}

}  // namespace
}  // namespace edged::edge
