#include "edged/core/event_queue.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "edged/core/event_hub.h"

namespace edged::edge {
namespace {

EdgeEvent Event(int number) {
  return {.what = Drift{.what = std::to_string(number)}};
}

std::string TextOf(const EdgeEvent& event) {
  return std::get<Drift>(event.what).what;
}

// "1 2 (3 lost) 6".
std::string Rest(EventQueue& queue) {
  std::string text;
  while (const auto entry = queue.Pop()) {
    if (!text.empty()) text += " ";
    if (const auto* lost = std::get_if<LostEvents>(&*entry)) {
      text += fmt::format("({} lost)", lost->count);
    } else {
      text += TextOf(std::get<EdgeEvent>(*entry));
    }
  }
  return text;
}

struct Watcher final : public EventStream {
  void Send(const EdgeEvent& event) override {
    text += TextOf(event) + " ";
    ++count;
  }
  std::string text;
  int count = 0;
};

}  // namespace

TEST_CASE("event_queue: gives back what was put in, in order",
          "[event_queue]") {
  EventQueue queue(3);
  CHECK(!queue.Pop());
  for (int i = 1; i <= 3; ++i) queue.Push(Event(i));
  CHECK(Rest(queue) == "1 2 3");
  queue.Push(Event(4));
  CHECK(Rest(queue) == "4");
}

TEST_CASE("event_queue: tells where and how many were lost", "[event_queue]") {
  EventQueue queue(2);
  for (int i = 1; i <= 5; ++i) queue.Push(Event(i));
  REQUIRE(queue.Pop());  // room for one more
  queue.Push(Event(6));
  queue.Push(Event(7));
  CHECK(Rest(queue) == "2 (3 lost) 6 (1 lost)");
  queue.Push(Event(8));
  CHECK(Rest(queue) == "8");
}

TEST_CASE("event_hub: tells all who watch, and who comes later what was",
          "[event_hub]") {
  EventHub hub;
  Watcher early;
  REQUIRE(hub.Watch(early, 10).ok());
  for (int i = 1; i <= 3; ++i) hub.Tell(Event(i));
  Watcher late;
  REQUIRE(hub.Watch(late, 2).ok());
  hub.Tell(Event(4));
  hub.Unwatch(early);
  hub.Tell(Event(5));
  CHECK(early.text == "1 2 3 4 ");
  CHECK(late.text == "2 3 4 5 ");
}

TEST_CASE("event_hub: keeps the last hundred", "[event_hub]") {
  EventHub hub;
  for (int i = 0; i < 250; ++i) hub.Tell(Event(i));
  Watcher watcher;
  REQUIRE(hub.Watch(watcher, 1'000'000).ok());
  CHECK(watcher.count == 100);
  CHECK(watcher.text.starts_with("150 "));
}

TEST_CASE("event_hub: refuses the 65th, until one leaves", "[event_hub]") {
  EventHub hub;
  std::vector<Watcher> watchers(65);
  for (int i = 0; i < 64; ++i) REQUIRE(hub.Watch(watchers[i], 0).ok());
  CHECK(absl::IsResourceExhausted(hub.Watch(watchers[64], 0)));
  hub.Unwatch(watchers[7]);
  CHECK(hub.Watch(watchers[64], 0).ok());
}

}  // namespace edged::edge
