#include "tests/bench/uapi_device.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

#include "common/status.h"

namespace edged::bench {

std::string UapiDevice::Answer(const std::string& request) {
  if (request.starts_with("get=1\n")) return Get();
  Set(request);
  return "errno=0\n\n";
}

std::string UapiDevice::Get() const {
  std::string text;
  for (const auto& [key, value] : values) {
    text += fmt::format("{}={}\n", key, value);
  }
  for (const auto& [name, peer] : peers) {
    text += fmt::format("public_key={}\n", name);
    for (const auto& [key, value] : peer.values) {
      text += fmt::format("{}={}\n", key, value);
    }
    for (const auto& allowed : peer.allowed_ips) {
      text += fmt::format("allowed_ip={}\n", allowed);
    }
  }
  return text + "errno=0\n\n";
}

void UapiDevice::Set(const std::string& request) {
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
      peers[name];
    } else if (key == "remove") {
      peers.erase(name);
    } else if (key == "replace_allowed_ips") {
      peers[name].allowed_ips.clear();
    } else if (key == "allowed_ip") {
      for (auto& [_, peer] : peers) std::erase(peer.allowed_ips, value);
      peers[name].allowed_ips.push_back(value);
    } else if (name.empty()) {
      values[key] = value;
    } else if (key == "endpoint" || key == "persistent_keepalive_interval") {
      peers[name].values[key] = value;
    }
  }
}

absl::StatusOr<UapiListener> UapiListener::Open(const std::string& path) {
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof address) != 0 ||
      listen(listener.get(), 16) != 0) {
    return ErrnoStatus(errno, path);
  }
  return UapiListener(std::move(listener));
}

void UapiListener::Serve(
    const std::function<std::string(const std::string& request)>& answer) {
  const UniqueFd connection(
      accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::string request;
  char bytes[4096];
  while (!request.ends_with("\n\n")) {
    const ssize_t size = read(connection.get(), bytes, sizeof bytes);
    if (size <= 0) return;
    request.append(bytes, static_cast<size_t>(size));
  }
  const std::string text = answer(request);
  send(connection.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

}  // namespace edged::bench
