#include "edged/system/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/unique_fd.h"
#include "tests/common/temporary_folder.h"

namespace edged::edge {
namespace {

// Whoever listens at `name`, which is spelled as NOTIFY_SOCKET is.
class Listener {
 public:
  explicit Listener(const std::string& name)
      : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    REQUIRE(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) +
                                        name.size())) == 0);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Listener() { unsetenv("NOTIFY_SOCKET"); }

  std::string Next() {
    char text[256];
    const ssize_t size = recv(fd_.get(), text, sizeof text, 0);
    return size < 0 ? "nothing" : std::string(text, size);
  }

 private:
  UniqueFd fd_;
};

TEST_CASE("service_manager: tells in datagrams how the service is",
          "[service_manager]") {
  const TemporaryFolder folder;
  for (const std::string& name :
       {folder / "notify", "@" + folder.path() + "/abstract"}) {
    INFO(name);
    Listener listener(name);
    const ServiceManager manager;
    CHECK(listener.Next() == "nothing");
    manager.Ready("enrolled as paris");
    CHECK(listener.Next() == "READY=1\nSTATUS=enrolled as paris");
    manager.Alive();
    CHECK(listener.Next() == "WATCHDOG=1");
    manager.Stopping();
    CHECK(listener.Next() == "STOPPING=1");
    CHECK(listener.Next() == "nothing");
  }
}

TEST_CASE("service_manager: is content when nobody listens",
          "[service_manager]") {
  unsetenv("NOTIFY_SOCKET");
  ServiceManager().Ready("alone");
  const TemporaryFolder folder;
  for (const std::string& name :
       {folder / "missing", std::string(200, 'x'), std::string("@")}) {
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    ServiceManager().Ready("alone");
  }
  unsetenv("NOTIFY_SOCKET");
}

TEST_CASE("service_manager: is alive twice as often as the watchdog wants",
          "[service_manager]") {
  using std::chrono::microseconds;
  CHECK(ServiceManager().alive_interval() == std::nullopt);
  setenv("WATCHDOG_USEC", "30000000", 1);
  CHECK(ServiceManager().alive_interval() == microseconds(15'000'000));
  for (const char* wrong : {"", "0", "1", "-5", "many"}) {
    INFO(wrong);
    setenv("WATCHDOG_USEC", wrong, 1);
    CHECK(ServiceManager().alive_interval() == std::nullopt);
  }
  unsetenv("WATCHDOG_USEC");
}

}  // namespace
}  // namespace edged::edge
