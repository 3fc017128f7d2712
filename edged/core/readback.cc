#include "edged/core/readback.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "common/status.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"

namespace edged::edge {
namespace {

using nftables::Bytes;
using nftables::Element;

// A key of a mapping: address, then protocol and port padded to 4 bytes each.
struct Key {
  IpAddress address;
  uint8_t protocol = 0;
  uint16_t port = 0;
};

std::optional<Key> ParseKey(const Bytes& bytes) {
  if (bytes.size() != 12 && bytes.size() != 24) return std::nullopt;
  const size_t address_size = bytes.size() - 8;
  Key key;
  key.address = IpAddress::FromBytes(std::span(bytes.data(), address_size));
  key.protocol = bytes[address_size];
  key.port = static_cast<uint16_t>(bytes[address_size + 4] << 8 |
                                   bytes[address_size + 5]);
  return key;
}

std::optional<protocol::Listener> ParseListener(const Element& element) {
  const auto first = ParseKey(element.key);
  const auto last = element.key_end.empty() ? first : ParseKey(element.key_end);
  if (!first || !last || first->port == 0 || last->port < first->port ||
      last->address != first->address || last->protocol != first->protocol) {
    return std::nullopt;
  }
  const auto protocol = static_cast<Protocol>(first->protocol);
  if (protocol != Protocol::kTcp && protocol != Protocol::kUdp) {
    return std::nullopt;
  }
  return protocol::Listener{
      first->address, protocol, {first->port, last->port}};
}

// For messages: with the address of the interface, as `nft list` shows it.
std::string Describe(const Element& element) {
  const auto listener = ParseListener(element);
  return listener ? listener->ToString() : "an unreadable element";
}

bool SameKey(const Element& a, const Element& b) {
  return a.key == b.key && a.key_end == b.key_end;
}

// Finds elements in what was read. That comes in the order in which it was
// asked for, so that the next one wanted is mostly the next one there.
class Found {
 public:
  explicit Found(std::vector<Element> elements)
      : elements_(std::move(elements)) {
    if (!std::ranges::is_sorted(elements_, {}, &Element::key)) {
      std::ranges::sort(elements_, {}, &Element::key);
    }
  }

  const Element* Find(const Element& wanted) {
    if (next_ < elements_.size() && SameKey(elements_[next_], wanted)) {
      return &elements_[next_++];
    }
    auto at =
        std::ranges::lower_bound(elements_, wanted.key, {}, &Element::key);
    for (; at != elements_.end() && at->key == wanted.key; ++at) {
      if (!SameKey(*at, wanted)) continue;
      next_ = static_cast<size_t>(at - elements_.begin()) + 1;
      return &*at;
    }
    return nullptr;
  }

 private:
  std::vector<Element> elements_;  // sorted by key
  size_t next_ = 0;
};

}  // namespace

Readback::Readback(const GroupMarks& marks, const HostFacts& facts)
    : marks_(marks) {
  for (const auto& [address, nic] : facts.nic_addresses) {
    public_addresses_[nic.nic] = address;
  }
}

absl::StatusOr<protocol::Listener> Readback::ListenerOf(
    const Element& element) const {
  auto listener = ParseListener(element);
  if (!listener) {
    return InvalidArgument("an element of {} bytes is not a mapping",
                           element.key.size());
  }
  const auto address = public_addresses_.find(listener->public_address);
  if (address == public_addresses_.end()) {
    return absl::NotFoundError(
        fmt::format("{}: no such public address", listener->ToString()));
  }
  listener->public_address = address->second;
  return *listener;
}

absl::StatusOr<protocol::Mapping> Readback::MappingOf(
    const Element& element) const {
  ASSIGN_OR_RETURN(const protocol::Listener listener, ListenerOf(element));
  uint32_t mark = 0;
  if (element.data.size() != sizeof mark) {
    return InvalidArgument("an element of {} bytes is not a mapping",
                           element.key.size());
  }
  std::memcpy(&mark, element.data.data(), sizeof mark);
  const std::string* group = marks_.GroupOf(mark);
  if (!group) {
    return absl::NotFoundError(
        fmt::format("{} : {:#010x}: no such group", listener.ToString(), mark));
  }
  return protocol::Mapping{listener, *group};
}

KernelDigest::KernelDigest(const EdgeModel& model, const GroupMarks& marks,
                           const HostFacts& facts)
    : readback_(marks, facts), sets_(MappingSets()) {
  digest_.Add(model.settings());
  for (const auto& [name, uplink] : model.uplinks()) digest_.Add(uplink);
  for (const auto& [name, group] : model.groups()) digest_.Add(group);
}

void KernelDigest::Add(const Element& element) {
  const auto mapping = readback_.MappingOf(element);
  if (!mapping.ok()) {
    ++strangers_;
    return;
  }
  ++mappings_;
  digest_.Add(*mapping);
}

void KernelDigest::Add(const nftables::Listing& listing) {
  for (const auto& set : sets_) {
    const auto found = listing.sets.find(set.name);
    if (found == listing.sets.end()) continue;
    for (const Element& element : found->second.elements) Add(element);
  }
}

std::vector<Element> TouchedElements::Keys() const {
  std::vector<Element> keys = written;
  keys.insert(keys.end(), removed.begin(), removed.end());
  return keys;
}

std::vector<TouchedElements> Touched(
    const GroupMarks& marks, const HostFacts& facts,
    std::span<const protocol::Mapping> written,
    std::span<const protocol::Listener> removed) {
  std::vector<TouchedElements> touched;
  for (auto& set : MappingSets()) touched.push_back({std::move(set), {}, {}});
  if (!written.empty()) {
    touched[MappingSetIndex(written.front().listener)].written.reserve(
        written.size());
  }
  const auto elements_for =
      [&](const protocol::Listener& listener) -> TouchedElements& {
    return touched[MappingSetIndex(listener)];
  };
  for (const auto& mapping : written) {
    if (!IsProgrammable(mapping.listener, facts)) continue;
    elements_for(mapping.listener)
        .written.push_back(
            ElementOf(mapping.listener, marks.MarkOf(mapping.group), facts));
  }
  for (const auto& listener : removed) {
    if (!IsProgrammable(listener, facts)) continue;
    Element element = ElementOf(listener, 0, facts);
    element.data.clear();
    elements_for(listener).removed.push_back(std::move(element));
  }
  std::erase_if(touched, [](const TouchedElements& elements) {
    return elements.written.empty() && elements.removed.empty();
  });
  return touched;
}

absl::Status CheckReadBack(const TouchedElements& touched,
                           std::vector<Element> elements) {
  Found found(std::move(elements));
  for (const Element& written : touched.written) {
    const Element* there = found.Find(written);
    if (!there) {
      return absl::AbortedError(
          fmt::format("{} was written and is not there", Describe(written)));
    }
    if (there->data != written.data) {
      return absl::AbortedError(fmt::format(
          "{} was written and has another group", Describe(written)));
    }
  }
  for (const Element& removed : touched.removed) {
    if (found.Find(removed)) {
      return absl::AbortedError(
          fmt::format("{} was removed and is still there", Describe(removed)));
    }
  }
  return absl::OkStatus();
}

std::set<std::string> SwitchedInterfacesOf(const nftables::Listing& listing,
                                           Family family) {
  std::set<std::string> names;
  const auto set = listing.sets.find(SwitchedSet(family).name);
  if (set == listing.sets.end()) return names;
  for (const Element& element : set->second.elements) {
    const auto* name = reinterpret_cast<const char*>(element.key.data());
    names.emplace(name, strnlen(name, element.key.size()));
  }
  return names;
}

}  // namespace edged::edge
