// Stands in for wireguard-go where a veth plays the tunnel device. It carries
// nothing.
//   usage: bench_device SOCKET
#include <fmt/format.h>

#include <cstdio>

#include "common/status.h"
#include "tests/bench/uapi_device.h"

namespace edged::bench {
namespace {

int Serve(const char* path) {
  auto listener = UapiListener::Open(path);
  if (!listener.ok()) {
    fmt::print(stderr, "bench_device: {}\n", Message(listener.status()));
    return 1;
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  UapiDevice device;
  while (true) {
    listener->Serve(
        [&](const std::string& request) { return device.Answer(request); });
  }
}

}  // namespace
}  // namespace edged::bench

int main(int argc, char** argv) {
  if (argc == 2) return edged::bench::Serve(argv[1]);
  fmt::print(stderr, "usage: bench_device SOCKET\n");
  return 2;
}
