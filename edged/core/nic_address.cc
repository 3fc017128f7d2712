#include "edged/core/nic_address.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <optional>

#include "common/status.h"

namespace edged::edge {
namespace {

// An address of this host with its link.
struct LocalAddress {
  const netlink::Address* address = nullptr;
  const netlink::Link* link = nullptr;

  std::string ToString() const {
    return fmt::format("{} on {}", address->address.ToString(), link->name);
  }
};

// Not the ones that IPv6 gives up or changes by itself. (For IPv4 the bit of
// IFA_F_TEMPORARY means secondary, which is as good as any.)
bool IsLasting(const netlink::Address& address) {
  if (address.scope != RT_SCOPE_UNIVERSE) return false;
  if (address.address.is_ipv4()) return true;
  constexpr uint32_t kUnfit =
      IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED;
  return (address.flags & kUnfit) == 0;
}

// Another host has it, too (IPv6 looks for that): nothing arrives here.
bool IsDuplicate(const netlink::Address& address) {
  return !address.address.is_ipv4() && (address.flags & IFA_F_DADFAILED) != 0;
}

class Resolver {
 public:
  Resolver(const std::vector<netlink::Link>& links,
           const std::vector<netlink::Address>& addresses,
           const std::string& device)
      : links_(links) {
    for (const auto& address : addresses) {
      const auto link =
          std::ranges::find(links, address.link, &netlink::Link::index);
      if (link == links.end() || link->name == device) continue;
      if (address.address.is_loopback()) continue;
      local_.push_back({&address, &*link});
    }
  }

  absl::StatusOr<NicAddress> Resolve(
      const protocol::PublicAddress& wanted) const {
    if (!wanted.interface.empty() &&
        std::ranges::find(links_, wanted.interface, &netlink::Link::name) ==
            links_.end()) {
      return FailedPrecondition("public address {}: there is no interface {}",
                                wanted.address.ToString(), wanted.interface);
    }
    if (wanted.nic_address) return Given(wanted, *wanted.nic_address);
    if (const auto own = FindLocal(wanted, wanted.address)) {
      return ResultOf(wanted, *own);
    }
    for (const LocalAddress& local : local_) {
      if (local.address->address == wanted.address &&
          IsDuplicate(*local.address)) {
        return FailedPrecondition(
            "public address {}: another host has it, too (duplicate address "
            "detection failed)",
            local.ToString());
      }
    }
    return OnlyAddress(wanted);
  }

 private:
  absl::StatusOr<NicAddress> Given(const protocol::PublicAddress& wanted,
                                   const IpAddress& nic) const {
    if (const auto own = FindLocal(wanted, nic)) return ResultOf(wanted, *own);
    return FailedPrecondition(
        "public address {}: its nicAddress {} is not on {}",
        wanted.address.ToString(), nic.ToString(),
        wanted.interface.empty() ? "any interface" : wanted.interface);
  }

  // `address` on the wanted interface, or as a host address on lo.
  std::optional<LocalAddress> FindLocal(const protocol::PublicAddress& wanted,
                                        const IpAddress& address) const {
    for (const LocalAddress& local : local_) {
      if (local.address->address != address || IsDuplicate(*local.address)) {
        continue;
      }
      const bool fits = local.link->loopback
                            ? local.address->prefix_length == address.bits()
                            : wanted.interface.empty() ||
                                  local.link->name == wanted.interface;
      if (fits) return local;
    }
    return std::nullopt;
  }

  // Behind a 1:1 translation: it delivers to the interface's own address.
  absl::StatusOr<NicAddress> OnlyAddress(
      const protocol::PublicAddress& wanted) const {
    std::vector<LocalAddress> candidates;
    std::string names;
    for (const LocalAddress& local : local_) {
      if (local.link->loopback || !IsLasting(*local.address) ||
          local.address->address.family() != wanted.address.family()) {
        continue;
      }
      if (!wanted.interface.empty() && local.link->name != wanted.interface) {
        continue;
      }
      candidates.push_back(local);
      names += (names.empty() ? "" : ", ") + local.ToString();
    }
    if (candidates.size() == 1) return ResultOf(wanted, candidates.front());
    if (candidates.empty()) {
      return FailedPrecondition(
          "public address {} is not local, and {} has no global address for it",
          wanted.address.ToString(),
          wanted.interface.empty() ? "this host" : wanted.interface);
    }
    return FailedPrecondition(
        "public address {} is not local, and it could be any of {}: name its "
        "{}",
        wanted.address.ToString(), names,
        wanted.interface.empty() ? "interface or nicAddress" : "nicAddress");
  }

  // A host address on lo arrives by the interface that is named, if one is.
  NicAddress ResultOf(const protocol::PublicAddress& wanted,
                      const LocalAddress& local) const {
    const netlink::Link* link = local.link;
    if (link->loopback && !wanted.interface.empty()) {
      link =
          &*std::ranges::find(links_, wanted.interface, &netlink::Link::name);
    }
    return {local.address->address, link->name, link->index};
  }

  const std::vector<netlink::Link>& links_;
  std::vector<LocalAddress> local_;
};

}  // namespace

std::map<IpAddress, absl::StatusOr<NicAddress>> ResolveNicAddresses(
    const protocol::Settings& settings, const std::vector<netlink::Link>& links,
    const std::vector<netlink::Address>& addresses, const std::string& device) {
  const Resolver resolver(links, addresses, device);
  std::map<IpAddress, absl::StatusOr<NicAddress>> resolved;
  std::map<IpAddress, IpAddress> taken;  // public address by nic address
  for (const auto& wanted : settings.public_addresses) {
    absl::StatusOr<NicAddress> result = resolver.Resolve(wanted);
    if (result.ok()) {
      const auto [other, is_free] = taken.emplace(result->nic, wanted.address);
      if (!is_free) {
        result = FailedPrecondition(
            "public addresses {} and {} both arrive at {} on {}: name another "
            "nicAddress",
            other->second.ToString(), wanted.address.ToString(),
            result->nic.ToString(), result->interface);
      }
    }
    resolved.emplace(wanted.address, std::move(result));
  }
  return resolved;
}

}  // namespace edged::edge
