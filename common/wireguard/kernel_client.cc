#include <linux/netlink.h>
#include <linux/wireguard.h>
#include <sodium.h>

#include "common/netlink/genetlink.h"
#include "common/netlink/rtnetlink.h"
#include "common/status.h"
#include "common/wireguard/client.h"
#include "common/wireguard/kernel_codec.h"

namespace edged::wireguard {
namespace {

constexpr char kKind[] = "wireguard";

class KernelClient : public Client {
 public:
  KernelClient(netlink::GenericFamily family, netlink::Rtnetlink links)
      : family_(std::move(family)), links_(std::move(links)) {}

  Backend backend() const override { return Backend::kKernel; }

  absl::Status Ensure(const std::string& name) override {
    RETURN_IF_ERROR(CheckDeviceName(name));
    const absl::Status found = CheckKind(name);
    return absl::IsNotFound(found) ? links_.CreateLink(name, kKind) : found;
  }

  absl::StatusOr<Device> Get(const std::string& name) override {
    RETURN_IF_ERROR(CheckDeviceName(name));
    netlink::MessageBuilder request = family_.Request(WG_CMD_GET_DEVICE, 0);
    PutKernelGet(request, name);
    KernelDump dump;
    RETURN_IF_ERROR(family_.socket().Dump(
        request, "read WireGuard device " + name, [&dump] { dump = {}; },
        [&dump](const netlink::MessageView& message) {
          return dump.Add(message);
        }));
    return std::move(dump).Finish();
  }

  absl::Status Apply(const std::string& name,
                     const DeviceChange& change) override {
    RETURN_IF_ERROR(CheckDeviceName(name));
    auto messages = EncodeKernelSet(
        name, change, [this] { return family_.Request(WG_CMD_SET_DEVICE, 0); });
    absl::Status status;
    for (netlink::MessageBuilder& message : messages) {
      if (status.ok()) {
        status = family_.socket().Transact(message,
                                           "change WireGuard device " + name);
      }
      if (const auto bytes = message.Finish(); bytes.ok()) {
        sodium_memzero(bytes->data(), bytes->size());  // the private key
      }
    }
    return status;
  }

  absl::Status Remove(const std::string& name) override {
    RETURN_IF_ERROR(CheckDeviceName(name));
    const absl::Status found = CheckKind(name);
    if (absl::IsNotFound(found)) return absl::OkStatus();
    RETURN_IF_ERROR(found);
    return links_.DeleteLink(name);
  }

 private:
  absl::Status CheckKind(const std::string& name) {
    ASSIGN_OR_RETURN(const netlink::Link link, links_.GetLink(name));
    if (link.kind == kKind) return absl::OkStatus();
    return FailedPrecondition("link {} is of kind \"{}\", not {}", name,
                              link.kind, kKind);
  }

  netlink::GenericFamily family_;
  netlink::Rtnetlink links_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> OpenKernelClient() {
  // The module that brings the family brings the kind of link, too.
  auto family = netlink::GenericFamily::Open(WG_GENL_NAME, WG_GENL_VERSION);
  if (absl::IsNotFound(family.status())) {
    return absl::UnimplementedError(
        "this kernel has no WireGuard (module wireguard, in Linux since 5.6)");
  }
  RETURN_IF_ERROR(family.status());
  ASSIGN_OR_RETURN(netlink::Rtnetlink links, netlink::Rtnetlink::Open());
  return std::make_unique<KernelClient>(*std::move(family), std::move(links));
}

}  // namespace edged::wireguard
