#include "clusteragent/kube/watch_progress.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "clusteragent/kube/api_error.h"

namespace edged::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

WatchProgress::TimePoint At(int milli) {
  return WatchProgress::TimePoint(milliseconds(milli));
}

constexpr seconds kLifetime(300);

const absl::Status kGone = ErrorOf(HttpResponse{.code = 410}, "watch");
const absl::Status kBusy =
    ErrorOf(HttpResponse{.code = 429, .retry_after = seconds(7)}, "watch");
const absl::Status kCut = absl::UnavailableError("cut");

// "list", "watch 12", "list soon" with a pause.
std::string Shown(const WatchProgress::Next& next) {
  return (next.list ? "list" : "watch " + next.resource_version) +
         (next.pause.count() > 0 ? " later" : "");
}

TEST_CASE("watch_progress: lists, watches, and goes on where it was",
          "[watch_progress]") {
  WatchProgress progress;
  CHECK(Shown(progress.Begin()) == "list");
  CHECK(Shown(progress.Listed("10")) == "watch 10");
  progress.WatchBegan(At(0), kLifetime);
  CHECK(progress.Heard("11"));
  CHECK(progress.Heard("12"));
  CHECK(Shown(progress.WatchEnded(At(300'000), absl::OkStatus())) ==
        "watch 12");
  progress.WatchBegan(At(300'000), kLifetime);
  CHECK(Shown(progress.WatchEnded(At(310'000), kCut)) == "watch 12 later");
  // A quiet collection, in a watch of full length.
  progress.WatchBegan(At(310'000), kLifetime);
  CHECK(Shown(progress.WatchEnded(At(610'000), absl::OkStatus())) ==
        "watch 12");
}

TEST_CASE("watch_progress: an expired version, said in three ways",
          "[watch_progress]") {
  const auto end_at_once = [](const absl::Status& status) {
    WatchProgress progress;
    std::string text;
    WatchProgress::Duration last{};
    for (int i = 0; i < 8; ++i) {
      progress.Listed("10");
      progress.WatchBegan(At(i), kLifetime);
      const auto next = progress.WatchEnded(At(i), status);
      CHECK(Shown(next) == "list later");
      last = next.pause;
    }
    // No busy loop, however quickly the server says it.
    CHECK(last >= seconds(15));
    CHECK(last <= seconds(30));
  };
  end_at_once(kGone);
  end_at_once(ErrorOf(nlohmann::json{{"code", 410}}, "watch"));
  end_at_once(absl::OkStatus());
}

TEST_CASE(
    "watch_progress: a server in trouble is left alone, for as long as "
    "it asks",
    "[watch_progress]") {
  WatchProgress progress;
  progress.Listed("10");
  progress.WatchBegan(At(0), kLifetime);
  const auto next = progress.WatchEnded(At(5), kBusy);
  CHECK(Shown(next) == "watch 10 later");
  CHECK(next.pause == seconds(7));
  CHECK(progress.ListFailed(kBusy).pause == seconds(7));
  CHECK(Shown(progress.ListFailed(kCut)) == "list later");
}

TEST_CASE("watch_progress: an older list is taken when it stays older",
          "[watch_progress]") {
  WatchProgress progress;
  CHECK(progress.Takes(At(0), "10"));
  progress.Listed("10");
  CHECK(progress.Heard("12"));
  CHECK(progress.Takes(At(0), "12"));
  CHECK_FALSE(progress.Takes(At(0), "11"));
  CHECK(Shown(progress.ListFailed(kCut)) == "list later");
  CHECK_FALSE(progress.Takes(At(19'000), "11"));
  // A server that caught up.
  CHECK(progress.Takes(At(19'500), "13"));
  progress.Listed("13");
  // A backup.
  CHECK_FALSE(progress.Takes(At(30'000), "7"));
  CHECK(progress.Takes(At(50'000), "9"));
  CHECK(Shown(progress.Listed("9")) == "watch 9");
}

TEST_CASE("watch_progress: after some watches without a word it lists",
          "[watch_progress]") {
  WatchProgress progress;
  progress.Listed("10");
  std::string text;
  for (int i = 0; i < 3; ++i) {
    progress.WatchBegan(At(i), kLifetime);
    text += Shown(progress.WatchEnded(At(i), kCut)) + ", ";
  }
  CHECK(text == "watch 10 later, watch 10 later, list later, ");
}

TEST_CASE("watch_progress: streams that end soon go on soon after a word",
          "[watch_progress]") {
  const absl::Status end = GENERATE(absl::OkStatus(), kCut);
  WatchProgress progress;
  progress.Listed("10");
  WatchProgress::Next next;
  for (int i = 11; i < 20; ++i) {
    progress.WatchBegan(At(i), kLifetime);
    progress.Heard(std::to_string(i));
    next = progress.WatchEnded(At(i), end);
    CHECK(Shown(next) == fmt::format("watch {} later", i));
    CHECK(next.pause <= milliseconds(500));
  }
}

TEST_CASE(
    "watch_progress: a watch that the server gives up early told old news",
    "[watch_progress]") {
  WatchProgress progress;
  progress.Listed("10");
  progress.WatchBegan(At(0), kLifetime);
  progress.Heard("11");
  const auto next = progress.WatchEnded(At(1'100), absl::OkStatus());
  CHECK(Shown(next) == "list later");
  CHECK(next.pause <= milliseconds(500));
}

TEST_CASE("watch_progress: versions never go back but by a list",
          "[watch_progress]") {
  WatchProgress progress;
  progress.Listed("100");
  progress.WatchBegan(At(0), kLifetime);
  CHECK_FALSE(progress.Heard("99"));
  CHECK(progress.Heard("100"));
  CHECK(progress.Heard(""));
  CHECK(progress.Heard("1000"));
  CHECK_FALSE(progress.Heard("101"));
  CHECK(progress.resource_version() == "1000");
  CHECK(Shown(progress.Listed("5")) == "watch 5");

  CHECK(IsOlderVersion("9", "10"));
  CHECK(IsOlderVersion("0009", "10"));
  CHECK_FALSE(IsOlderVersion("10", "10"));
  CHECK_FALSE(IsOlderVersion("a", "b"));
  CHECK(IsOlderVersion("99999999999999999999", "100000000000000000000"));
}

}  // namespace
}  // namespace edged::kube
