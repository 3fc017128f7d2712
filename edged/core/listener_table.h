#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "common/net_types.h"
#include "common/protocol/records.h"

// Listeners and the number each one carries, indexed for changes: single ports
// in pages of 256 that exist only where used, true ranges in an ordered map.
// 60,000 single ports of one address take 130 kB.

namespace edged::edge {

// The ports of one address and protocol. Entries never overlap; the caller
// sees to it with FirstOverlap(). Numbers are 1 to 65535.
class PortTable {
 public:
  PortTable() = default;
  PortTable(const PortTable& other);
  PortTable(PortTable&&) = default;
  PortTable& operator=(PortTable&&) = default;

  struct Entry {
    PortRange ports;
    uint16_t number = 0;
    bool operator==(const Entry&) const = default;
  };

  // The entry with exactly these ports: its number, 0 when there is none.
  uint16_t Find(PortRange ports) const;
  // The entry that holds `port`.
  std::optional<Entry> At(uint16_t port) const;
  // The lowest entry that has a port in `within`.
  std::optional<Entry> FirstOverlap(PortRange within) const;

  void Set(PortRange ports, uint16_t number);
  void Erase(PortRange ports);  // fine when there is none
  // In the order of their ports.
  void ForEach(const std::function<void(const Entry&)>& each) const;
  size_t size() const { return single_count_ + ranges_.size(); }

 private:
  struct Page {
    std::array<uint16_t, 256> numbers{};
    uint16_t used = 0;
  };
  struct Range {
    uint16_t last = 0;
    uint16_t number = 0;
  };

  std::optional<Entry> FirstSingle(PortRange within) const;
  std::optional<Entry> FirstRange(PortRange within) const;

  std::array<std::unique_ptr<Page>, 256> pages_;  // by the port's high byte
  size_t single_count_ = 0;
  std::map<uint16_t, Range> ranges_;  // by first port
};

// The port tables of all addresses.
class ListenerTable {
 public:
  uint16_t Find(const protocol::Listener& listener) const;  // exact; 0: none
  std::optional<PortTable::Entry> At(const IpAddress& address,
                                     Protocol protocol, uint16_t port) const;
  // The lowest entry that shares a port with `listener`.
  std::optional<PortTable::Entry> FirstOverlap(
      const protocol::Listener& listener) const;

  void Set(const protocol::Listener& listener, uint16_t number);
  void Erase(const protocol::Listener& listener);
  // Sorted by listener.
  void ForEach(const std::function<void(const protocol::Listener&,
                                        uint16_t number)>& each) const;
  size_t size() const;
  size_t CountOn(const IpAddress& address) const;

 private:
  const PortTable* TableOf(const protocol::Listener& listener) const;

  std::map<std::pair<IpAddress, Protocol>, PortTable> tables_;
};

}  // namespace edged::edge
