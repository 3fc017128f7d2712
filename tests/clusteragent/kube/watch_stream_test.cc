#include "clusteragent/kube/watch_stream.h"

#include <catch2/catch.hpp>

#include "common/status.h"

namespace edged::kube {
namespace {

TEST_CASE("watch_stream: lines from pieces of any length", "[watch_stream]") {
  const std::string text = "one\n\ntwo\nthree\nrest";
  for (size_t size = 1; size <= text.size(); ++size) {
    LineReader reader(10);
    std::string lines;
    for (size_t at = 0; at < text.size(); at += size) {
      REQUIRE(reader
                  .Feed(std::string_view(text).substr(at, size),
                        [&](std::string_view line) {
                          lines += std::string(line) + ";";
                          return absl::OkStatus();
                        })
                  .ok());
    }
    CHECK(lines == "one;two;three;");
  }
}

TEST_CASE("watch_stream: a line has a longest length", "[watch_stream]") {
  LineReader reader(4);
  const auto ignore = [](std::string_view) { return absl::OkStatus(); };
  CHECK(reader.Feed("1234\n12", ignore).ok());
  CHECK(absl::IsResourceExhausted(reader.Feed("345", ignore)));
  reader.Clear();
  CHECK(reader.Feed("1234\n", ignore).ok());
  CHECK(absl::IsResourceExhausted(reader.Feed("12345\n", ignore)));
}

TEST_CASE("watch_stream: who reads may end it", "[watch_stream]") {
  LineReader reader(10);
  int lines = 0;
  CHECK(absl::IsAborted(reader.Feed("a\nb\nc\n", [&](std::string_view) {
    return ++lines == 2 ? absl::AbortedError("") : absl::OkStatus();
  })));
  CHECK(lines == 2);
}

TEST_CASE("watch_stream: events by type, with their version",
          "[watch_stream]") {
  const auto read = [](std::string_view line) {
    return ParseWatchEvent(line).value();
  };
  const auto added = read(
      R"({"type":"ADDED","object":{"metadata":{"resourceVersion":"12"}}})");
  CHECK(added.type == WatchEventType::kAdded);
  CHECK(added.resource_version == "12");
  CHECK(read(R"({"type":"DELETED","object":{}})").type ==
        WatchEventType::kDeleted);
  CHECK(read(R"({"type":"ERROR","object":{"code":410}})").type ==
        WatchEventType::kError);
  CHECK(read(R"({"type":"NEW","object":{}})").type ==
        WatchEventType::kBookmark);
  for (const char* line :
       {"", "{", "[]", R"({"type":1,"object":{}})", R"({"type":"ADDED"})",
        R"({"type":"ADDED","object":[]})"}) {
    CHECK(absl::IsInvalidArgument(ParseWatchEvent(line).status()));
  }
}

}  // namespace
}  // namespace edged::kube
