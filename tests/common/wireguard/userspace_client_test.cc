#include <catch2/catch.hpp>
#include <string>

#include "common/status.h"
#include "common/wireguard/client.h"
#include "tests/common/wireguard/devices.h"
#include "tests/common/wireguard/uapi_server.h"

namespace edged::wireguard {
namespace {

// Every network namespace has a link of this name.
const std::string kPresent = "lo";

std::unique_ptr<Client> Open(const SocketFolder& folder,
                             const std::string& program = "") {
  return OpenUserspaceClient(program, folder.path());
}

TEST_CASE("userspace_client: says how to start what is missing",
          "[userspace_client]") {
  SocketFolder folder;
  const absl::Status status = Open(folder)->Ensure("edged-none");
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status) ==
        "no wireguard-go serves edged-none: start it with `wireguard-go "
        "edged-none`, or `systemctl start edged-wireguard@edged-none`");
}

TEST_CASE("userspace_client: a device that answers is there",
          "[userspace_client]") {
  SocketFolder folder;
  UapiServer server(folder.SocketOf(kPresent), Answering("errno=0\n\n"));
  CHECK(Open(folder)->Ensure(kPresent).ok());
}

TEST_CASE("userspace_client: refuses a device of another network namespace",
          "[userspace_client]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged-none");
  UapiServer server(path, Answering("errno=0\n\n"));
  const auto client = Open(folder, "/bin/true");
  const absl::Status status = client->Ensure("edged-none");
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status) ==
        "wireguard-go answers at " + path +
            ", but its link is in another network namespace: the folder is "
            "shared, so names must differ");
  CHECK(client->Remove("edged-none").ok());
  CHECK(access(path.c_str(), F_OK) == 0);
}

TEST_CASE("userspace_client: does not take over a link that is not served",
          "[userspace_client]") {
  SocketFolder folder;
  const absl::Status status = Open(folder, "/bin/true")->Ensure(kPresent);
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status) ==
        "link lo is there, but no wireguard-go serves it: remove it first "
        "(`ip link delete lo`)");
}

TEST_CASE("userspace_client: says when the program ends or is missing",
          "[userspace_client]") {
  SocketFolder folder;
  const absl::Status ended = Open(folder, "/bin/false")->Ensure("edged-none");
  CHECK(absl::IsFailedPrecondition(ended));
  CHECK_THAT(std::string(Message(ended)),
             Catch::StartsWith("/bin/false --foreground edged-none ended at "
                               "once"));
  const absl::Status missing =
      Open(folder, "/nonexistent/wireguard-go")->Ensure("edged-none");
  CHECK(absl::IsFailedPrecondition(missing));
  CHECK(Message(missing) ==
        "wireguard-go for edged-none: start /nonexistent/wireguard-go: No such "
        "file or directory");
}

TEST_CASE("userspace_client: reads a device", "[userspace_client]") {
  SocketFolder folder;
  UapiServer server(folder.SocketOf("edged0"),
                    Answering("listen_port=51820\nfwmark=237\nerrno=0\n\n"));
  const auto device = Open(folder)->Get("edged0");
  REQUIRE(device.ok());
  CHECK(*device ==
        Device{.name = "edged0", .listen_port = 51820, .fwmark = 237});
}

TEST_CASE("userspace_client: a device that is not there is not found",
          "[userspace_client]") {
  SocketFolder folder;
  const auto client = Open(folder);
  CHECK(absl::IsNotFound(client->Get("edged0").status()));
  CHECK(absl::IsNotFound(client->Apply("edged0", {})));
  CHECK(client->Remove("edged0").ok());
}

TEST_CASE("userspace_client: names the device whose change was refused",
          "[userspace_client]") {
  SocketFolder folder;
  UapiServer server(folder.SocketOf("edged0"), Answering("errno=-98\n\n"));
  const absl::Status status =
      Open(folder)->Apply("edged0", {.listen_port = 51820});
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status) ==
        "change edged0: wireguard-go refused the request: Address already in "
        "use");
}

TEST_CASE("userspace_client: removes the socket of a dead process",
          "[userspace_client]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged-none");
  ListenAt(path).reset();
  CHECK(Open(folder)->Remove("edged-none").ok());
  CHECK(access(path.c_str(), F_OK) != 0);
}

TEST_CASE("userspace_client: a name that is no device's never becomes a path",
          "[userspace_client]") {
  SocketFolder folder;
  const auto client = Open(folder, "/bin/true");
  for (const std::string name :
       {"", ".", "..", "../x", "a/b", "a:b", "a b", "sixteen-letters-"}) {
    INFO(name);
    CHECK(absl::IsInvalidArgument(client->Ensure(name)));
    CHECK(absl::IsInvalidArgument(client->Get(name).status()));
    CHECK(absl::IsInvalidArgument(client->Apply(name, {})));
    CHECK(absl::IsInvalidArgument(client->Remove(name)));
  }
  CHECK(CheckDeviceName("fifteen-letters").ok());
}

TEST_CASE("wireguard_client: reads the choice of a backend",
          "[wireguard_client]") {
  CHECK(ParseBackendChoice("auto").value() == BackendChoice::kAuto);
  CHECK(ParseBackendChoice("kernel").value() == BackendChoice::kKernel);
  CHECK(ParseBackendChoice("userspace").value() == BackendChoice::kUserspace);
  CHECK(Message(ParseBackendChoice("Kernel").status()) ==
        "\"Kernel\" is not auto, kernel or userspace");
}

}  // namespace
}  // namespace edged::wireguard
