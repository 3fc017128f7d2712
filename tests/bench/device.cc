// Stands in for wireguard-go where a veth plays the tunnel device: keeps what
// it is told at a UAPI socket and tells it again. It carries nothing.
//   usage: bench_device SOCKET
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "common/unique_fd.h"

namespace edged::bench {
namespace {

// What a peer was given, as lines; allowed_ip may stand in it many times.
struct Peer {
  std::map<std::string, std::string> values;
  std::vector<std::string> allowed_ips;
};

class Device {
 public:
  std::string Answer(const std::string& request) {
    if (request.starts_with("get=1\n")) return Get();
    Set(request);
    return "errno=0\n\n";
  }

 private:
  std::string Get() const {
    std::string text;
    for (const auto& [key, value] : values_) {
      text += fmt::format("{}={}\n", key, value);
    }
    for (const auto& [name, peer] : peers_) {
      text += fmt::format("public_key={}\n", name);
      for (const auto& [key, value] : peer.values) {
        text += fmt::format("{}={}\n", key, value);
      }
      for (const auto& allowed : peer.allowed_ips) {
        text += fmt::format("allowed_ip={}\n", allowed);
      }
      text += "rx_bytes=0\ntx_bytes=0\n";
    }
    return text + "errno=0\n\n";
  }

  void Set(const std::string& request) {
    std::istringstream lines(request);
    std::string line;
    std::string name;  // of the peer that the lines are about; empty: none yet
    std::getline(lines, line);
    while (std::getline(lines, line) && !line.empty()) {
      const size_t equals = line.find('=');
      const std::string key = line.substr(0, equals);
      const std::string value = line.substr(equals + 1);
      if (key == "public_key") {
        name = value;
        peers_[name];
      } else if (key == "remove") {
        peers_.erase(name);
      } else if (key == "replace_allowed_ips") {
        peers_[name].allowed_ips.clear();
      } else if (key == "allowed_ip") {
        peers_[name].allowed_ips.push_back(value);
      } else if (name.empty()) {
        values_[key] = value;
      } else if (key == "endpoint" || key == "persistent_keepalive_interval") {
        peers_[name].values[key] = value;
      }
    }
  }

  std::map<std::string, std::string> values_;
  std::map<std::string, Peer> peers_;
};

std::string ReadRequest(const UniqueFd& connection) {
  std::string request;
  char bytes[4096];
  while (!request.ends_with("\n\n")) {
    const ssize_t size = read(connection.get(), bytes, sizeof bytes);
    if (size <= 0) return "";
    request.append(bytes, static_cast<size_t>(size));
  }
  return request;
}

int Serve(const std::string& path) {
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof address) != 0 ||
      listen(listener.get(), 16) != 0) {
    fmt::print(stderr, "bench_device: {}: {}\n", path, std::strerror(errno));
    return 1;
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  Device device;
  while (true) {
    const UniqueFd connection(
        accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::string request = ReadRequest(connection);
    if (request.empty()) continue;  // somebody looked whether we are here
    const std::string answer = device.Answer(request);
    send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  }
}

}  // namespace
}  // namespace edged::bench

int main(int argc, char** argv) {
  if (argc == 2) return edged::bench::Serve(argv[1]);
  fmt::print(stderr, "usage: bench_device SOCKET\n");
  return 2;
}
