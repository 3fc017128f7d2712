#include "edged/core/listener_table.h"

#include <algorithm>

namespace edged::edge {

PortTable::PortTable(const PortTable& other)
    : single_count_(other.single_count_), ranges_(other.ranges_) {
  for (size_t i = 0; i < pages_.size(); ++i) {
    if (other.pages_[i]) pages_[i] = std::make_unique<Page>(*other.pages_[i]);
  }
}

uint16_t PortTable::Find(PortRange ports) const {
  if (ports.is_single()) {
    const auto& page = pages_[ports.first >> 8];
    return page ? page->numbers[ports.first & 0xff] : 0;
  }
  const auto found = ranges_.find(ports.first);
  const bool same = found != ranges_.end() && found->second.last == ports.last;
  return same ? found->second.number : 0;
}

std::optional<PortTable::Entry> PortTable::At(uint16_t port) const {
  return FirstOverlap({port, port});
}

std::optional<PortTable::Entry> PortTable::FirstOverlap(
    PortRange within) const {
  const auto single = FirstSingle(within);
  const auto range = FirstRange(within);
  if (!single || !range) return single ? single : range;
  return single->ports < range->ports ? single : range;
}

std::optional<PortTable::Entry> PortTable::FirstSingle(PortRange within) const {
  uint32_t port = within.first;
  while (port <= within.last) {
    const auto& page = pages_[port >> 8];
    if (!page) {
      port = (port | 0xff) + 1;
      continue;
    }
    if (const uint16_t number = page->numbers[port & 0xff]; number != 0) {
      const auto found = static_cast<uint16_t>(port);
      return Entry{{found, found}, number};
    }
    ++port;
  }
  return std::nullopt;
}

std::optional<PortTable::Entry> PortTable::FirstRange(PortRange within) const {
  auto next = ranges_.upper_bound(within.first);
  // Entries do not overlap, so that only the last one before can reach in.
  if (next != ranges_.begin()) {
    const auto before = std::prev(next);
    if (before->second.last >= within.first) next = before;
  }
  if (next == ranges_.end() || next->first > within.last) return std::nullopt;
  return Entry{{next->first, next->second.last}, next->second.number};
}

void PortTable::Set(PortRange ports, uint16_t number) {
  if (!ports.is_single()) {
    ranges_[ports.first] = {ports.last, number};
    return;
  }
  auto& page = pages_[ports.first >> 8];
  if (!page) page = std::make_unique<Page>();
  uint16_t& slot = page->numbers[ports.first & 0xff];
  if (slot == 0) {
    ++page->used;
    ++single_count_;
  }
  slot = number;
}

void PortTable::Erase(PortRange ports) {
  if (Find(ports) == 0) return;
  if (!ports.is_single()) {
    ranges_.erase(ports.first);
    return;
  }
  auto& page = pages_[ports.first >> 8];
  page->numbers[ports.first & 0xff] = 0;
  --single_count_;
  if (--page->used == 0) page.reset();
}

void PortTable::ForEach(const std::function<void(const Entry&)>& each) const {
  auto range = ranges_.begin();
  const auto pass_ranges_before = [&](uint32_t port) {
    for (; range != ranges_.end() && range->first < port; ++range) {
      each({{range->first, range->second.last}, range->second.number});
    }
  };
  for (size_t high = 0; high < pages_.size(); ++high) {
    if (!pages_[high]) continue;
    for (size_t low = 0; low < 256; ++low) {
      const uint16_t number = pages_[high]->numbers[low];
      if (number == 0) continue;
      const auto port = static_cast<uint16_t>(high << 8 | low);
      pass_ranges_before(port);
      each({{port, port}, number});
    }
  }
  pass_ranges_before(1 << 16);
}

const PortTable* ListenerTable::TableOf(
    const protocol::Listener& listener) const {
  const auto found = tables_.find({listener.public_address, listener.protocol});
  return found == tables_.end() ? nullptr : &found->second;
}

uint16_t ListenerTable::Find(const protocol::Listener& listener) const {
  const PortTable* table = TableOf(listener);
  return table ? table->Find(listener.ports) : 0;
}

std::optional<PortTable::Entry> ListenerTable::At(const IpAddress& address,
                                                  Protocol protocol,
                                                  uint16_t port) const {
  return FirstOverlap({address, protocol, {port, port}});
}

std::optional<PortTable::Entry> ListenerTable::FirstOverlap(
    const protocol::Listener& listener) const {
  const PortTable* table = TableOf(listener);
  return table ? table->FirstOverlap(listener.ports) : std::nullopt;
}

void ListenerTable::Set(const protocol::Listener& listener, uint16_t number) {
  tables_[{listener.public_address, listener.protocol}].Set(listener.ports,
                                                            number);
}

void ListenerTable::Erase(const protocol::Listener& listener) {
  const auto found = tables_.find({listener.public_address, listener.protocol});
  if (found == tables_.end()) return;
  found->second.Erase(listener.ports);
  if (found->second.size() == 0) tables_.erase(found);
}

void ListenerTable::ForEach(const std::function<void(const protocol::Listener&,
                                                     uint16_t)>& each) const {
  for (const auto& [key, table] : tables_) {
    protocol::Listener listener{key.first, key.second, {}};
    table.ForEach([&](const PortTable::Entry& entry) {
      listener.ports = entry.ports;
      each(listener, entry.number);
    });
  }
}

size_t ListenerTable::size() const {
  size_t size = 0;
  for (const auto& [key, table] : tables_) size += table.size();
  return size;
}

size_t ListenerTable::CountOn(const IpAddress& address) const {
  size_t count = 0;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    const PortTable* table = TableOf({address, protocol, {}});
    if (table) count += table->size();
  }
  return count;
}

}  // namespace edged::edge
