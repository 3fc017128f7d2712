#include "tests/common/nftables/nft_tool.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace edged::nftables {

std::string WhyNot() {
  static const std::string reason = []() -> std::string {
    if (unshare(CLONE_NEWNET) != 0) {
      return std::string("no network namespace: ") + std::strerror(errno);
    }
    if (Nft("list ruleset").code != 0) return "nft does not work here";
    if (Nft("--version").text.find("v1.0.6 ") == std::string::npos) {
      return "the nft tool is not of version 1.0.6";
    }
    return "";
  }();
  return reason;
}

NftOutput Nft(const std::string& arguments, const std::string& input) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("nft_tool." + std::to_string(getpid()));
  std::ofstream(path) << input;
  const std::string command =
      "nft " + arguments + " <" + path.string() + " 2>&1";
  NftOutput output;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof buffer, pipe)) {
    output.text.append(buffer, size);
  }
  output.code = pclose(pipe);
  std::filesystem::remove(path);
  return output;
}

}  // namespace edged::nftables
