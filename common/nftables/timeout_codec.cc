#include "common/nftables/timeout_codec.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;

absl::Status ReadPolicy(const Attribute& policy, CtTimeout& timeout) {
  return netlink::ForEachAttribute(
      policy.payload, [&timeout](const Attribute& state) -> absl::Status {
        ASSIGN_OR_RETURN(timeout.seconds[state.type], state.Be32());
        return absl::OkStatus();
      });
}

absl::Status ReadData(const Attribute& data, TimeoutView& view) {
  uint16_t family = 0;
  uint8_t protocol = 0;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      data.payload, [&](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NFTA_CT_TIMEOUT_L3PROTO: {
            ASSIGN_OR_RETURN(family, attribute.Be16());
            break;
          }
          case NFTA_CT_TIMEOUT_L4PROTO: {
            ASSIGN_OR_RETURN(protocol, attribute.U8());
            break;
          }
          case NFTA_CT_TIMEOUT_DATA:
            return ReadPolicy(attribute, view.timeout);
        }
        return absl::OkStatus();
      }));
  const bool known = protocol == static_cast<uint8_t>(Protocol::kTcp) ||
                     protocol == static_cast<uint8_t>(Protocol::kUdp);
  if (known) view.timeout.protocol = static_cast<Protocol>(protocol);
  if (!known || family != NFPROTO_INET) view.timeout.seconds.clear();
  return absl::OkStatus();
}

}  // namespace

void PutTimeout(const CtTimeout& timeout, const std::string& table,
                netlink::MessageBuilder& message) {
  message.PutString(NFTA_OBJ_TABLE, table);
  message.PutString(NFTA_OBJ_NAME, timeout.name);
  message.PutBe32(NFTA_OBJ_TYPE, NFT_OBJECT_CT_TIMEOUT);
  const size_t data = message.BeginNest(NFTA_OBJ_DATA);
  message.PutBe16(NFTA_CT_TIMEOUT_L3PROTO, NFPROTO_INET);
  message.PutU8(NFTA_CT_TIMEOUT_L4PROTO,
                static_cast<uint8_t>(timeout.protocol));
  const size_t policy = message.BeginNest(NFTA_CT_TIMEOUT_DATA);
  for (const auto& [state, seconds] : timeout.seconds) {
    message.PutBe32(state, seconds);
  }
  message.EndNest(policy);
  message.EndNest(data);
}

absl::StatusOr<TimeoutView> ReadTimeout(const netlink::MessageView& message) {
  RETURN_IF_ERROR(message.HeaderAs<nfgenmsg>().status());
  TimeoutView view;
  uint32_t type = 0;
  Attribute data;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NFTA_OBJ_TABLE:
            view.table = attribute.String();
            break;
          case NFTA_OBJ_NAME:
            view.timeout.name = attribute.String();
            break;
          case NFTA_OBJ_TYPE: {
            ASSIGN_OR_RETURN(type, attribute.Be32());
            break;
          }
          case NFTA_OBJ_DATA:
            data = attribute;
            break;
        }
        return absl::OkStatus();
      }));
  // The data of other types looks otherwise.
  view.is_timeout = type == NFT_OBJECT_CT_TIMEOUT;
  if (view.is_timeout) RETURN_IF_ERROR(ReadData(data, view));
  return view;
}

}  // namespace edged::nftables
