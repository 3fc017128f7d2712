#include "common/wireguard/client.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "common/status.h"
#include "common/wireguard/uapi_socket.h"

namespace edged::wireguard {
namespace {

bool AnyoneListens(const std::string& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".sock" &&
        ProbeUapi(entry->path().string()).ok()) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string_view ToString(Backend backend) {
  return backend == Backend::kKernel ? "kernel" : "userspace";
}

absl::StatusOr<BackendChoice> ParseBackendChoice(std::string_view text) {
  if (text == "auto") return BackendChoice::kAuto;
  if (text == "kernel") return BackendChoice::kKernel;
  if (text == "userspace") return BackendChoice::kUserspace;
  return InvalidArgument("\"{}\" is not auto, kernel or userspace", text);
}

absl::StatusOr<std::unique_ptr<Client>> OpenClient(BackendChoice choice,
                                                   std::string program) {
  if (choice != BackendChoice::kUserspace) {
    auto kernel = OpenKernelClient();
    if (!absl::IsUnimplemented(kernel.status())) return kernel;
    if (choice == BackendChoice::kKernel) {
      return absl::FailedPreconditionError(kernel.status().message());
    }
    if (program.empty() && !AnyoneListens(kSocketFolder)) {
      return FailedPrecondition(
          "{}, and no wireguard-go runs: load the module, or start "
          "`wireguard-go NAME` (`systemctl start edged-wireguard@NAME`)",
          Message(kernel.status()));
    }
  }
  if (!program.empty() && access(program.c_str(), X_OK) != 0) {
    return FailedPrecondition("wireguard-go program {}: {}", program,
                              strerror(errno));
  }
  return OpenUserspaceClient(std::move(program));
}

}  // namespace edged::wireguard
