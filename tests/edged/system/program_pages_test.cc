#include "edged/system/program_pages.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace edged::edge {
namespace {

// This program's code as /proc/self/smaps tells.
struct Code {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  size_t resident_kilobytes = 0;
};

Code OwnCode() {
  const std::string name = std::filesystem::read_symlink("/proc/self/exe");
  std::ifstream smaps("/proc/self/smaps");
  Code code;
  std::string line;
  bool within = false;
  while (std::getline(smaps, line)) {
    uintptr_t begin = 0, end = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) == 3) {
      within = line.ends_with(name) && std::string(rights) == "r-xp";
      if (within) code = {begin, end};
    }
    if (within) std::sscanf(line.c_str(), "Rss: %zu", &code.resident_kilobytes);
  }
  return code;
}

TEST_CASE("program_pages: gives back the code that nobody uses",
          "[program_pages]") {
  const Code code = OwnCode();
  REQUIRE(code.begin != 0);
  int sum = 0;
  for (uintptr_t at = code.begin; at < code.end; at += 4096) {
    sum += *reinterpret_cast<const volatile uint8_t*>(at);
  }
  const size_t before = OwnCode().resident_kilobytes;
  ReleaseProgramPages();
  const size_t after = OwnCode().resident_kilobytes;
  INFO(before << " kB before, " << after << " kB after; sum " << sum);
  CHECK(before == (code.end - code.begin) / 1024);
  CHECK(after < before / 2);
}

}  // namespace
}  // namespace edged::edge
