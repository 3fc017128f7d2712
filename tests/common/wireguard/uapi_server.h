#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/unique_fd.h"

// The other side of a UAPI socket, for tests.

namespace edged::wireguard {

// A folder of its own, removed with its sockets at the end.
class SocketFolder {
 public:
  SocketFolder() { REQUIRE(mkdtemp(path_.data()) != nullptr); }
  ~SocketFolder() {
    for (const std::string& name : names_) unlink(PathOf(name).c_str());
    rmdir(path_.c_str());
  }
  std::string SocketOf(const std::string& device) {
    names_.push_back(device + ".sock");
    return PathOf(names_.back());
  }
  const std::string& path() const { return path_; }

 private:
  std::string PathOf(const std::string& name) const {
    return path_ + "/" + name;
  }
  std::string path_ = "/tmp/edged-uapi.XXXXXX";
  std::vector<std::string> names_;
};

inline UniqueFd ListenAt(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX};
  REQUIRE(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address),
               sizeof address) == 0);
  REQUIRE(listen(fd.get(), 4) == 0);
  return fd;
}

// Serves one connection after the other with `serve`, until destroyed.
class UapiServer {
 public:
  UapiServer(const std::string& path, std::function<void(int connection)> serve)
      : listener_(ListenAt(path)), thread_([this, serve = std::move(serve)] {
          while (true) {
            const UniqueFd connection(
                accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!connection) return;
            serve(connection.get());
          }
        }) {}
  ~UapiServer() {
    shutdown(listener_.get(), SHUT_RDWR);  // ends accept4()
    thread_.join();
  }

 private:
  UniqueFd listener_;
  std::thread thread_;
};

// Reads a request up to its blank line; what came until the client hung up.
inline std::string ReadRequest(int connection) {
  std::string request;
  char bytes[4096];
  while (!request.ends_with("\n\n")) {
    const ssize_t size = read(connection, bytes, sizeof bytes);
    if (size <= 0) break;
    request.append(bytes, static_cast<size_t>(size));
  }
  return request;
}

inline void Write(int connection, std::string_view text) {
  (void)!send(connection, text.data(), text.size(), MSG_NOSIGNAL);
}

// A server that answers every request with `reply`.
inline std::function<void(int)> Answering(std::string reply) {
  return [reply = std::move(reply)](int connection) {
    if (!ReadRequest(connection).empty()) Write(connection, reply);
  };
}

}  // namespace edged::wireguard
