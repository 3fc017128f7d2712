#include "common/nftables/any_table_reader.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <map>
#include <utility>

#include "common/netlink/socket.h"
#include "common/nftables/client.h"
#include "common/nftables/element_codec.h"
#include "common/nftables/program_codec.h"
#include "common/nftables/table_message.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;
using netlink::MessageBuilder;
using netlink::MessageView;

constexpr size_t kMostElements = 100'000;

using Key = std::pair<uint8_t, std::string>;  // family, table
using Tables = std::map<Key, AnyTable>;

// Calls `each` with the attributes of a listed object and the family.
absl::Status ForEachPart(
    const MessageView& message, uint8_t& family,
    const std::function<absl::Status(const Attribute&)>& each) {
  ASSIGN_OR_RETURN(const auto header, message.HeaderAs<nfgenmsg>());
  family = header.nfgen_family;
  return netlink::ForEachAttribute(message.AttributesAfter(sizeof(nfgenmsg)),
                                   each);
}

absl::StatusOr<AnyTable> ReadTable(const MessageView& message) {
  AnyTable table;
  RETURN_IF_ERROR(ForEachPart(
      message, table.family, [&](const Attribute& part) -> absl::Status {
        if (part.type == NFTA_TABLE_NAME) table.name = part.String();
        if (part.type == NFTA_TABLE_FLAGS) {
          ASSIGN_OR_RETURN(const uint32_t flags, part.Be32());
          table.dormant = (flags & NFT_TABLE_F_DORMANT) != 0;
        }
        return absl::OkStatus();
      }));
  return table;
}

absl::Status ReadHook(const Attribute& nest, AnyHook& hook) {
  return netlink::ForEachAttribute(
      nest.payload, [&](const Attribute& part) -> absl::Status {
        if (part.type == NFTA_HOOK_HOOKNUM) {
          ASSIGN_OR_RETURN(hook.number, part.Be32());
        }
        if (part.type == NFTA_HOOK_PRIORITY) {
          ASSIGN_OR_RETURN(const uint32_t priority, part.Be32());
          hook.priority = static_cast<int32_t>(priority);
        }
        // One device is listed twice, alone too.
        if (part.type == NFTA_HOOK_DEVS) {
          return netlink::ForEachAttribute(part.payload, [&](const auto& name) {
            hook.devices.emplace_back(name.String());
            return absl::OkStatus();
          });
        }
        return absl::OkStatus();
      });
}

absl::Status AddChain(const MessageView& message, Tables& tables) {
  AnyChain chain;
  AnyHook hook;
  bool is_base = false;
  Key key;
  RETURN_IF_ERROR(ForEachPart(
      message, key.first, [&](const Attribute& part) -> absl::Status {
        switch (part.type) {
          case NFTA_CHAIN_TABLE:
            key.second = part.String();
            break;
          case NFTA_CHAIN_NAME:
            chain.name = part.String();
            break;
          case NFTA_CHAIN_TYPE:
            hook.type = part.String();
            break;
          case NFTA_CHAIN_POLICY: {
            ASSIGN_OR_RETURN(const uint32_t policy, part.Be32());
            chain.drops_by_policy = policy == NF_DROP;
            break;
          }
          case NFTA_CHAIN_HOOK:
            is_base = true;
            return ReadHook(part, hook);
          default:
            break;
        }
        return absl::OkStatus();
      }));
  if (is_base) chain.hook = std::move(hook);
  const auto table = tables.find(key);
  if (table != tables.end()) table->second.chains[chain.name] = chain;
  return absl::OkStatus();
}

absl::Status AddRule(const MessageView& message, Tables& tables) {
  ASSIGN_OR_RETURN(AnyRuleView view, ReadAnyRule(message));
  const auto table = tables.find(Key{view.family, view.table});
  if (table == tables.end()) return absl::OkStatus();
  const auto chain = table->second.chains.find(view.chain);
  if (chain != table->second.chains.end()) {
    chain->second.rules.push_back(std::move(view.rule));
  }
  return absl::OkStatus();
}

absl::Status ReadDescription(const Attribute& nest, AnySet& set) {
  const auto read_part = [&set](const Attribute& size) -> absl::Status {
    if (size.type != NFTA_SET_FIELD_LEN) return absl::OkStatus();
    ASSIGN_OR_RETURN(const uint32_t bytes, size.Be32());
    set.parts.push_back(bytes);
    return absl::OkStatus();
  };
  return netlink::ForEachAttribute(
      nest.payload, [&](const Attribute& part) -> absl::Status {
        if (part.type != NFTA_SET_DESC_CONCAT) return absl::OkStatus();
        return netlink::ForEachAttribute(part.payload, [&](const auto& entry) {
          return netlink::ForEachAttribute(entry.payload, read_part);
        });
      });
}

absl::Status AddSet(const MessageView& message, Tables& tables) {
  AnySet set;
  Key key;
  RETURN_IF_ERROR(ForEachPart(message, key.first,
                              [&](const Attribute& part) -> absl::Status {
                                switch (part.type) {
                                  case NFTA_SET_TABLE:
                                    key.second = part.String();
                                    break;
                                  case NFTA_SET_NAME:
                                    set.name = part.String();
                                    break;
                                  case NFTA_SET_FLAGS: {
                                    ASSIGN_OR_RETURN(set.flags, part.Be32());
                                    break;
                                  }
                                  case NFTA_SET_DESC:
                                    return ReadDescription(part, set);
                                  default:
                                    break;
                                }
                                return absl::OkStatus();
                              }));
  const auto table = tables.find(key);
  if (table != tables.end()) table->second.sets[set.name] = set;
  return absl::OkStatus();
}

class Reader {
 public:
  explicit Reader(netlink::Socket socket) : socket_(std::move(socket)) {}

  absl::StatusOr<std::vector<AnyTable>> Read(const WantsElements& wants) {
    RETURN_IF_ERROR(Dump(NFT_MSG_GETTABLE, [this](const MessageView& message) {
      return Add(message);
    }));
    RETURN_IF_ERROR(Dump(NFT_MSG_GETCHAIN, [this](const MessageView& message) {
      return AddChain(message, tables_);
    }));
    RETURN_IF_ERROR(Dump(NFT_MSG_GETSET, [this](const MessageView& message) {
      return AddSet(message, tables_);
    }));
    RETURN_IF_ERROR(Dump(NFT_MSG_GETRULE, [this](const MessageView& message) {
      return AddRule(message, tables_);
    }));
    std::vector<AnyTable> all;
    for (auto& [key, table] : tables_) {
      for (auto& [name, set] : table.sets) {
        set.complete = set.anonymous() || wants(table);
        if (set.complete) RETURN_IF_ERROR(ReadElements(table, set));
      }
      all.push_back(std::move(table));
    }
    return all;
  }

 private:
  absl::Status Add(const MessageView& message) {
    ASSIGN_OR_RETURN(AnyTable table, ReadTable(message));
    const Key key{table.family, table.name};
    tables_[key] = std::move(table);
    return absl::OkStatus();
  }

  // All of one kind. Objects that an interrupted try gave are overwritten, or
  // of rules forgotten.
  absl::Status Dump(uint8_t type, const netlink::MessageConsumer& consume) {
    MessageBuilder request = TableMessage(type, 0, NFPROTO_UNSPEC);
    return socket_.Dump(
        request, "list the ruleset",
        [this] {
          for (auto& [key, table] : tables_) {
            for (auto& [name, chain] : table.chains) chain.rules.clear();
          }
        },
        consume);
  }

  // A set that went away meanwhile, or does not come to rest, is incomplete.
  absl::Status ReadElements(const AnyTable& table, AnySet& set) {
    MessageBuilder request = TableMessage(NFT_MSG_GETSETELEM, 0, table.family);
    request.PutString(NFTA_SET_ELEM_LIST_TABLE, table.name);
    request.PutString(NFTA_SET_ELEM_LIST_SET, set.name);
    std::vector<Entry> entries;
    const absl::Status status = socket_.Dump(
        request, fmt::format("list set {}", set.name), [&] { entries.clear(); },
        [&](const MessageView& message) {
          return ForEachEntry(message, [&](const Entry& entry) {
            if (entry.element.key.empty()) {
              set.rest = entry.element;
            } else if (entries.size() < kMostElements) {
              entries.push_back(entry);
              set.complete &= !entry.foreign;
            } else {
              set.complete = false;
            }
            return absl::OkStatus();
          });
        });
    if (absl::IsNotFound(status) || absl::IsAborted(status)) {
      set.complete = false;
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(status);
    const bool split = (set.flags & NFT_SET_INTERVAL) != 0 && set.parts.empty();
    if (split) {
      set.elements = JoinRanges(std::move(entries));
    } else {
      for (Entry& entry : entries) {
        set.elements.push_back(std::move(entry.element));
      }
      std::ranges::sort(set.elements, {}, &Element::key);
    }
    return absl::OkStatus();
  }

  netlink::Socket socket_;
  Tables tables_;
};

}  // namespace

absl::StatusOr<std::vector<AnyTable>> ReadAllTables(
    const WantsElements& wants) {
  RETURN_IF_ERROR(Client::Open().status());  // says what is missing
  ASSIGN_OR_RETURN(netlink::Socket socket,
                   netlink::Socket::Open(NETLINK_NETFILTER));
  return Reader(std::move(socket)).Read(wants);
}

}  // namespace edged::nftables
