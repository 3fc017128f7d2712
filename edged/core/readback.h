#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nftables/listing.h"
#include "common/nftables/ruleset.h"
#include "common/protocol/digest.h"
#include "common/protocol/records.h"
#include "edged/core/edge_model.h"
#include "edged/core/group_marks.h"
#include "edged/core/host_facts.h"

// From the kernel's elements back to mappings. Pure.

namespace edged::edge {

// Reads elements of MappingSets(). Borrows `marks`; knows the public addresses
// as they were when it was made.
class Readback {
 public:
  Readback(const GroupMarks& marks, const HostFacts& facts);

  // Of the element's key alone. NotFound when the address is nobody's,
  // InvalidArgument when the element is no mapping at all.
  absl::StatusOr<protocol::Listener> ListenerOf(
      const nftables::Element& element) const;

  // NotFound when the mark is nobody's, else as above.
  absl::StatusOr<protocol::Mapping> MappingOf(
      const nftables::Element& element) const;

 private:
  const GroupMarks& marks_;
  std::map<IpAddress, IpAddress> public_addresses_;  // by nic address
};

// Sums up what the kernel has: give it every element of MappingSets(), one by
// one or by the whole listing, then ask. Borrows `marks`.
class KernelDigest {
 public:
  KernelDigest(const EdgeModel& model, const GroupMarks& marks,
               const HostFacts& facts);

  void Add(const nftables::Element& element);
  void Add(const nftables::Listing& listing);

  size_t mappings() const { return mappings_; }
  size_t strangers() const { return strangers_; }  // not to be read as mappings
  // Settings, uplinks and groups of the model, mappings of the kernel.
  const protocol::Digest& digest() const { return digest_; }

 private:
  Readback readback_;
  std::vector<nftables::Set> sets_;
  protocol::Digest digest_;
  size_t mappings_ = 0;
  size_t strangers_ = 0;
};

// The elements that a delta writes and removes in one set.
struct TouchedElements {
  nftables::Set set;
  std::vector<nftables::Element> written;  // with the data they should have
  std::vector<nftables::Element> removed;  // keys

  // To be read back with Client::GetElements().
  std::vector<nftables::Element> Keys() const;
};
// One for each set that these mappings of an accepted delta touch. Before or
// after the commit, but before the marks of removed groups are released.
std::vector<TouchedElements> Touched(
    const GroupMarks& marks, const HostFacts& facts,
    std::span<const protocol::Mapping> written,
    std::span<const protocol::Listener> removed);
// OK when `found`, what the kernel has of the keys, is exactly what was
// written; else Aborted, and the message names the first listener that differs.
absl::Status CheckReadBack(const TouchedElements& touched,
                           std::vector<nftables::Element> found);

// The interfaces that the kernel's table keeps from being routers: those whose
// forwarding an earlier run of edged switched on.
std::set<std::string> SwitchedInterfacesOf(const nftables::Listing& listing,
                                           Family family);

}  // namespace edged::edge
