#include "common/logging.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/files.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "tests/common/temporary_folder.h"

namespace edged {
namespace {

// Whether it has the form of 2026-01-31T12:00:00.000Z.
bool IsTime(std::string_view text) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00.000Z";
  return std::ranges::equal(text, kForm, [](char letter, char form) {
    return form == '0' ? letter >= '0' && letter <= '9' : letter == form;
  });
}

std::string WithoutTimes(std::string text) {
  constexpr size_t kLength = 24;
  for (size_t at = 0; at + kLength <= text.size(); ++at) {
    if (IsTime(std::string_view(text).substr(at, kLength))) {
      text.replace(at, kLength, "TIME");
    }
  }
  return text;
}

// What `log` writes to standard error, with every time as TIME. Catch2 reports
// after the test case, so that nothing of it is caught.
template <typename Log>
std::string Logged(const char* format, const char* level, Log log) {
  setenv("LOG_FORMAT", format, 1);
  setenv("LOG_LEVEL", level, 1);
  const TemporaryFolder folder;
  const UniqueFd file(
      open((folder / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const UniqueFd before(dup(STDERR_FILENO));
  dup2(file.get(), STDERR_FILENO);
  const absl::Status status = SetUpLogging("edged");
  log();
  dup2(before.get(), STDERR_FILENO);
  unsetenv("LOG_FORMAT");
  unsetenv("LOG_LEVEL");
  if (!status.ok()) return std::string(Message(status));
  return WithoutTimes(ReadFile(folder / "log").value());
}

TEST_CASE("logging: a library writes neither strange bytes nor without end",
          "[logging]") {
  const std::string log = Logged("text", "info", [] {
    for (int i = 0; i < 1'000; ++i) {
      LogOfLibrary("gRPC", "value=\x1b[1m\nFORGED " + std::string(5'000, 'x'));
    }
  });
  CHECK(log.starts_with(
      R"(TIME edged warn: gRPC: value=\u001b[1m\nFORGED xxxx)"));
  CHECK(std::ranges::count(log, '\n') == 10);
  CHECK(log.size() < 10 * 400);
}

TEST_CASE("logging: writes text lines from the wanted level on", "[logging]") {
  CHECK(Logged("text", "info",
               [] {
                 spdlog::debug("hidden");
                 spdlog::info("applied version {}", 7);
                 spdlog::warn("slow");
                 spdlog::error("failed");
               }) ==
        "TIME edged info: applied version 7\n"
        "TIME edged warn: slow\n"
        "TIME edged error: failed\n");
  CHECK(Logged("text", "error", [] { spdlog::warn("hidden"); }) == "");
  CHECK(Logged("text", "trace", [] { spdlog::trace("seen"); }) ==
        "TIME edged trace: seen\n");
}

TEST_CASE("logging: writes one JSON object per line", "[logging]") {
  CHECK(Logged("json", "debug",
               [] {
                 spdlog::debug("edge \"fra1\" at C:\\ \t{}", "z\xc3\xbcrich");
                 spdlog::warn("two\nlines\r\x01\x7f\xff.");
               }) == R"({"time":"TIME","level":"debug","program":"edged",)"
                     R"("message":"edge \"fra1\" at C:\\ \u0009z)"
                     "\xc3\xbc"
                     R"(rich"})"
                     "\n"
                     R"({"time":"TIME","level":"warn","program":"edged",)"
                     R"("message":"two\nlines\u000d\u0001\u007f\ufffd."})"
                     "\n");
}

TEST_CASE("logging: lets no message forge a second line", "[logging]") {
  CHECK(Logged("text", "info",
               [] {
                 spdlog::info("name {}",
                              "x\nTIME edged info: \"all is well\" \x1b[2J");
               }) ==
        "TIME edged info: name x\\nTIME edged info: \"all is well\" "
        "\\u001b[2J\n");
}

TEST_CASE("logging: names the variable that is wrong", "[logging]") {
  CHECK(Logged("xml", "info", [] {}) ==
        "LOG_FORMAT: \"xml\" is not text or json");
  CHECK(Logged("text", "loud", [] {}) ==
        "LOG_LEVEL: \"loud\" is not trace, debug, info, warn or error");
  CHECK(Logged("", "", [] { spdlog::info("defaults"); }) ==
        "TIME edged info: defaults\n");
}

}  // namespace
}  // namespace edged
