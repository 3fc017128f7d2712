// A target as libFuzzer wants it. `TARGET --write-seeds FOLDER` begins its
// corpus.

#include <cstdlib>
#include <string>

#include "common/files.h"
#include "common/status.h"
#include "tests/fuzz/target.h"

namespace {

void WriteSeeds(const std::string& folder) {
  int number = 0;
  for (const std::string& seed : edged::fuzz::Seeds()) {
    const std::string path = fmt::format("{}/seed-{:02}", folder, number++);
    const absl::Status status = edged::WriteFileAtomically(path, seed);
    edged::fuzz::Require(status.ok(), edged::Message(status));
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** words) {
  if (*count == 3 && std::string((*words)[1]) == "--write-seeds") {
    WriteSeeds((*words)[2]);
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  edged::fuzz::Try({data, size});
  return 0;
}
