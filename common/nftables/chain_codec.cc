#include "common/nftables/chain_codec.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "common/status.h"

namespace edged::nftables {
namespace {

// By ChainType and HookPoint.
constexpr std::string_view kTypeNames[] = {"filter", "nat", "route"};
constexpr uint32_t kHookNumbers[] = {NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN,
                                     NF_INET_FORWARD, NF_INET_LOCAL_OUT,
                                     NF_INET_POST_ROUTING};

// The position of `value`; the size of `table` when it is not there.
template <typename Enum, typename T, size_t kSize>
Enum EnumOf(const T (&table)[kSize], const T& value) {
  const auto* found = std::ranges::find(table, value);
  return static_cast<Enum>(found - std::begin(table));
}

absl::Status ReadHook(const netlink::Attribute& nest, Hook& hook) {
  return netlink::ForEachAttribute(
      nest.payload, [&](const netlink::Attribute& attribute) -> absl::Status {
        if (attribute.type == NFTA_HOOK_HOOKNUM) {
          ASSIGN_OR_RETURN(const uint32_t number, attribute.Be32());
          hook.point = EnumOf<HookPoint>(kHookNumbers, number);
        }
        if (attribute.type == NFTA_HOOK_PRIORITY) {
          ASSIGN_OR_RETURN(const uint32_t priority, attribute.Be32());
          hook.priority = static_cast<int32_t>(priority);
        }
        return absl::OkStatus();
      });
}

}  // namespace

void PutChain(const Chain& chain, const std::string& table,
              netlink::MessageBuilder& message) {
  message.PutString(NFTA_CHAIN_TABLE, table);
  message.PutString(NFTA_CHAIN_NAME, chain.name);
  if (!chain.hook) return;
  const Hook& hook = *chain.hook;
  const size_t nest = message.BeginNest(NFTA_CHAIN_HOOK);
  message.PutBe32(NFTA_HOOK_HOOKNUM,
                  kHookNumbers[static_cast<size_t>(hook.point)]);
  message.PutBe32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(hook.priority));
  message.EndNest(nest);
  message.PutBe32(NFTA_CHAIN_POLICY, NF_ACCEPT);
  message.PutString(NFTA_CHAIN_TYPE,
                    kTypeNames[static_cast<size_t>(hook.type)]);
}

absl::StatusOr<ChainView> ReadChain(const netlink::MessageView& message) {
  RETURN_IF_ERROR(message.HeaderAs<nfgenmsg>().status());
  ChainView view;
  Hook hook;
  bool is_base = false;
  RETURN_IF_ERROR(netlink::ForEachAttribute(
      message.AttributesAfter(sizeof(nfgenmsg)),
      [&](const netlink::Attribute& attribute) -> absl::Status {
        switch (attribute.type) {
          case NFTA_CHAIN_TABLE:
            view.table = attribute.String();
            break;
          case NFTA_CHAIN_NAME:
            view.name = attribute.String();
            break;
          case NFTA_CHAIN_TYPE:
            hook.type = EnumOf<ChainType>(kTypeNames, attribute.String());
            break;
          case NFTA_CHAIN_POLICY: {
            ASSIGN_OR_RETURN(const uint32_t policy, attribute.Be32());
            view.chain.policy_accept = policy == NF_ACCEPT;
            break;
          }
          case NFTA_CHAIN_HOOK:
            is_base = true;
            return ReadHook(attribute, hook);
          default:
            break;
        }
        return absl::OkStatus();
      }));
  if (is_base) view.chain.hook = hook;
  return view;
}

}  // namespace edged::nftables
