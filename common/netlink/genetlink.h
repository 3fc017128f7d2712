#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/netlink/message.h"
#include "common/netlink/socket.h"

// Generic netlink: a socket that has resolved one family by name.

namespace edged::netlink {

class GenericFamily {
 public:
  // Opens a NETLINK_GENERIC socket and resolves `name`, for example
  // "wireguard". NotFound when the kernel has no such family (the module is
  // loaded by the kernel itself when it can be).
  static absl::StatusOr<GenericFamily> Open(const std::string& name,
                                            uint8_t version);

  // A message of this family with its generic header in place.
  MessageBuilder Request(uint8_t command, uint16_t flags) const;
  Socket& socket() { return socket_; }
  uint16_t id() const { return id_; }

 private:
  GenericFamily(Socket socket, uint16_t id, uint8_t version);

  Socket socket_;
  uint16_t id_;
  uint8_t version_;
};

}  // namespace edged::netlink
