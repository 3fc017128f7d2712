#include "edged/system/kernel_mappings.h"

#include <algorithm>

#include "common/status.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"

namespace edged::edge {
namespace {

constexpr size_t kReadBackSlice = 1'024;

}  // namespace

absl::Status KernelMappings::CheckSome(
    std::span<const protocol::Mapping> written,
    std::span<const protocol::Listener> removed) const {
  for (const auto& touched : Touched(marks_, facts_, written, removed)) {
    ASSIGN_OR_RETURN(
        std::vector<nftables::Element> found,
        nft_.GetElements(
            kTable, touched.set,
            touched.removed.empty() ? touched.written : touched.Keys()));
    RETURN_IF_ERROR(CheckReadBack(touched, std::move(found)));
  }
  return absl::OkStatus();
}

// In slices, for the memory. What was removed is not: where much is missing the
// client reads the whole set.
absl::Status KernelMappings::Check(const protocol::EdgeDelta& accepted) const {
  const std::span<const protocol::Mapping> written(accepted.mappings);
  for (size_t at = 0; at < written.size(); at += kReadBackSlice) {
    const size_t size = std::min(kReadBackSlice, written.size() - at);
    RETURN_IF_ERROR(CheckSome(written.subspan(at, size), {}));
  }
  return CheckSome({}, accepted.removed_mappings);
}

absl::StatusOr<protocol::Digest> KernelMappings::Digest(
    const EdgeModel& model) const {
  KernelDigest digest(model, marks_, facts_);
  for (const nftables::Set& set : MappingSets()) {
    RETURN_IF_ERROR(nft_.ForEachElement(
        kTable, set,
        [&digest](const nftables::Element& element) { digest.Add(element); }));
  }
  return digest.digest();
}

absl::StatusOr<std::vector<MappingStatus>> KernelMappings::List() const {
  const Readback readback(marks_, facts_);
  std::vector<MappingStatus> mappings;
  for (const nftables::Set& set : MappingSets()) {
    RETURN_IF_ERROR(
        nft_.ForEachElement(kTable, set, [&](const nftables::Element& element) {
          const auto mapping = readback.MappingOf(element);
          if (!mapping.ok()) return;  // foreign; drift, not a mapping
          const IpAddress& address = mapping->listener.public_address;
          mappings.push_back({*mapping, facts_.nic_addresses.at(address).nic,
                              element.packets});
        }));
  }
  std::ranges::sort(mappings, {}, [](const MappingStatus& mapping) {
    return mapping.mapping.listener;
  });
  return mappings;
}

}  // namespace edged::edge
