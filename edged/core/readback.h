#pragma once

#include <set>
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

// Reads elements of ports4, ranges4 and their IPv6 counterparts. Borrows
// `marks`; knows the public addresses as they were when it was made.
class Readback {
 public:
  Readback(const GroupMarks& marks, const HostFacts& facts);

  // NotFound when the address or the mark is nobody's, InvalidArgument when the
  // element is no mapping at all.
  absl::StatusOr<protocol::Mapping> MappingOf(
      const nftables::Element& element) const;

 private:
  const GroupMarks& marks_;
  std::map<IpAddress, IpAddress> public_addresses_;  // by nic address
};

// The sets that hold mappings, in which ForEachElement() finds all of them.
std::vector<nftables::Set> MappingSets(const HostFacts& facts);

// Sums up what the kernel has: feed it every element of MappingSets(), or the
// whole listing, then ask.
class KernelDigest {
 public:
  KernelDigest(const EdgeModel& model, const GroupMarks& marks,
               const HostFacts& facts);

  void Add(const nftables::Element& element);
  void Add(const nftables::Listing& listing);

  size_t mappings() const { return mappings_; }
  size_t unknown() const { return unknown_; }  // elements that nobody wants
  // Settings, uplinks and groups of the model, mappings of the kernel.
  const protocol::Digest& digest() const { return digest_; }

 private:
  Readback readback_;
  protocol::Digest digest_;
  size_t mappings_ = 0;
  size_t unknown_ = 0;
};

// The elements that a delta writes and removes in one set: the keys to read
// back with Client::GetElements().
struct TouchedElements {
  nftables::Set set;
  std::vector<nftables::Element> written;  // with the data they should have
  std::vector<nftables::Element> removed;

  std::vector<nftables::Element> Keys() const;  // all of both
};
std::vector<TouchedElements> Touched(const GroupMarks& marks,
                                     const HostFacts& facts,
                                     const protocol::EdgeDelta& accepted);
// OK when `found` (what GetElements() gave for the keys) is exactly what was
// written; else Aborted, which names the first listener that differs.
absl::Status CheckReadBack(const TouchedElements& touched,
                           const std::vector<nftables::Element>& found);

// The interfaces that the kernel's table keeps from being routers: those whose
// forwarding an earlier run of edged switched on.
std::set<std::string> SwitchedInterfacesOf(const nftables::Listing& listing);

}  // namespace edged::edge
