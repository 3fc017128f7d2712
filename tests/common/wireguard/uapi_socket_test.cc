#include "common/wireguard/uapi_socket.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "common/status.h"
#include "tests/common/wireguard/uapi_server.h"

namespace edged::wireguard {
namespace {

using std::chrono::milliseconds;

std::string Ask(const std::string& path, std::string_view request,
                milliseconds patience = milliseconds(3000)) {
  const auto reply = AskUapi(path, request, patience);
  return std::string(reply.ok() ? std::string_view(*reply)
                                : Message(reply.status()));
}

TEST_CASE("uapi_socket: nobody listens", "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  CHECK(absl::IsNotFound(ProbeUapi(path)));
  CHECK(Ask(path, "get=1\n\n") == "no wireguard-go listens at " + path);
}

TEST_CASE("uapi_socket: the file of a dead process counts as nobody",
          "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  ListenAt(path).reset();
  REQUIRE(access(path.c_str(), F_OK) == 0);
  CHECK(absl::IsNotFound(ProbeUapi(path)));
  CHECK(absl::IsNotFound(AskUapi(path, "get=1\n\n").status()));
}

TEST_CASE("uapi_socket: a path that is too long is refused, not cut",
          "[uapi_socket]") {
  CHECK(absl::IsInvalidArgument(ProbeUapi("/" + std::string(108, 'x'))));
}

TEST_CASE("uapi_socket: sends the request and returns the reply",
          "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  std::string heard;
  {
    UapiServer server(path, [&heard](int connection) {
      heard = ReadRequest(connection);
      Write(connection, "errno=0\n\n");
    });
    CHECK(Ask(path, "set=1\nfwmark=1\n\n") == "errno=0\n\n");
  }
  CHECK(heard == "set=1\nfwmark=1\n\n");
}

TEST_CASE("uapi_socket: puts a reply in pieces together", "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  const std::string big(200'000, 'x');
  UapiServer server(path, [&big](int connection) {
    ReadRequest(connection);
    Write(connection, big);
    std::this_thread::sleep_for(milliseconds(20));
    Write(connection, "\nerrno=0\n");
    std::this_thread::sleep_for(milliseconds(20));
    Write(connection, "\n");
    ReadRequest(connection);  // stays until the client hangs up
  });
  CHECK(Ask(path, "get=1\n\n") == big + "\nerrno=0\n\n");
}

TEST_CASE("uapi_socket: reads why, when its request is not read to the end",
          "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  UapiServer server(path, [](int connection) {
    char byte;
    CHECK(read(connection, &byte, 1) == 1);
    Write(connection, "errno=-22\n\n");
  });
  CHECK(Ask(path, std::string(1 << 20, 'x')) == "errno=-22\n\n");
}

TEST_CASE("uapi_socket: does not wait for ever", "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  UapiServer server(path, [](int connection) {
    Write(connection, "errno=0\n");
    while (!ReadRequest(connection).empty()) {
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  CHECK(Ask(path, "get=1\n\n", milliseconds(60)) ==
        "wireguard-go at " + path + ": it did not answer in time");
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took >= milliseconds(60));
  CHECK(took < milliseconds(2000));
}

TEST_CASE("uapi_socket: a request that is not read ends by the deadline",
          "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  const UniqueFd listener = ListenAt(path);  // accepts nothing
  CHECK(absl::IsUnavailable(
      AskUapi(path, std::string(4 << 20, 'x'), milliseconds(60)).status()));
}

TEST_CASE("uapi_socket: a reply that breaks off is an error", "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  UapiServer server(path, Answering("errno=0\n"));
  CHECK(Ask(path, "get=1\n\n") ==
        "wireguard-go at " + path + ": it hung up before its reply's end");
}

TEST_CASE("uapi_socket: a reply without end is cut off", "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  UapiServer server(path, [](int connection) {
    const std::string line(1 << 16, 'x');
    while (send(connection, line.data(), line.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  CHECK(absl::IsOutOfRange(AskUapi(path, "get=1\n\n").status()));
}

TEST_CASE("uapi_socket: removes the file and waits for the process to end",
          "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  bool ended = false;
  {
    UapiServer server(path, [&](int connection) {
      if (ReadRequest(connection).empty()) return;
      Write(connection, "errno=0\n\n");
      while (access(path.c_str(), F_OK) == 0) {
        std::this_thread::sleep_for(milliseconds(1));
      }
      std::this_thread::sleep_for(milliseconds(50));
      ended = true;
    });
    CHECK(EndUapi(path).ok());
  }
  CHECK(ended);
  CHECK(absl::IsNotFound(EndUapi(path)));
}

TEST_CASE("uapi_socket: says when the process does not end", "[uapi_socket]") {
  SocketFolder folder;
  const std::string path = folder.SocketOf("edged0");
  UapiServer server(path, [](int connection) {
    while (!ReadRequest(connection).empty()) Write(connection, "errno=0\n\n");
  });
  const absl::Status status = EndUapi(path, milliseconds(60));
  CHECK(absl::IsUnavailable(status));
  CHECK(Message(status) == "wireguard-go at " + path + " has not ended");
}

}  // namespace
}  // namespace edged::wireguard
