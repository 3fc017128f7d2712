#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace edged::edge {

// Whoever started this process and wants to know how it is (sd_notify(3)): each
// message is one datagram to $NOTIFY_SOCKET. Without that variable, and when
// nobody listens, messages go nowhere. Thread-safe.
class ServiceManager {
 public:
  // From NOTIFY_SOCKET and WATCHDOG_USEC of the environment.
  ServiceManager();

  // The service does its work; `status` is one line for people.
  void Ready(std::string_view status) const;
  void Stopping() const;
  void Alive() const;

  // How often Alive() is wanted, half of what is allowed; unset: never.
  std::optional<std::chrono::microseconds> alive_interval() const {
    return alive_interval_;
  }

 private:
  void Send(std::string_view message) const;

  std::string socket_;
  std::optional<std::chrono::microseconds> alive_interval_;
};

}  // namespace edged::edge
