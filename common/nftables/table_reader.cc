#include "common/nftables/table_reader.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "common/nftables/chain_codec.h"
#include "common/nftables/table_message.h"
#include "common/nftables/timeout_codec.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::Attribute;
using netlink::MessageBuilder;
using netlink::MessageView;

constexpr int kPasses = 10;
constexpr std::chrono::milliseconds kBetweenPasses{5};

}  // namespace

absl::StatusOr<uint32_t> TableReader::Generation() {
  MessageBuilder request = TableMessage(NFT_MSG_GETGEN);
  uint32_t generation = 0;
  RETURN_IF_ERROR(
      socket_.Request(request, "read the nf_tables generation",
                      [&](const MessageView& message) {
                        return netlink::ForEachAttribute(
                            message.AttributesAfter(sizeof(nfgenmsg)),
                            [&](const Attribute& attribute) -> absl::Status {
                              if (attribute.type == NFTA_GEN_ID) {
                                ASSIGN_OR_RETURN(generation, attribute.Be32());
                              }
                              return absl::OkStatus();
                            });
                      }));
  return generation;
}

absl::StatusOr<Listing> TableReader::Read(const std::string& table) {
  Listing listing;
  RETURN_IF_ERROR(ReadTable(table, listing));
  if (!listing.exists) return listing;
  RETURN_IF_ERROR(ReadChains(table, listing));
  RETURN_IF_ERROR(ReadTimeouts(table, listing));
  ASSIGN_OR_RETURN(const std::vector<SetView> sets, ReadSets(table));
  std::map<std::string, std::string, std::less<>> anonymous;
  for (const SetView& view : sets) {
    if (view.anonymous) {
      std::vector<Entry> entries;
      RETURN_IF_ERROR(
          ForEachEntryOf(table, view.set.name, [&](const Entry& entry) {
            entries.push_back(entry);
            return absl::OkStatus();
          }));
      anonymous[view.set.name] = EntriesText(entries);
    } else {
      ASSIGN_OR_RETURN(listing.sets[view.set.name], ReadElements(table, view));
    }
  }
  const auto set_text = [&](std::string_view name, uint32_t) {
    const auto found = anonymous.find(name);
    return found != anonymous.end() ? found->second : fmt::format("@{}", name);
  };
  RETURN_IF_ERROR(ReadRules(table, set_text, listing));
  return listing;
}

absl::Status TableReader::ReadTable(const std::string& table,
                                    Listing& listing) {
  MessageBuilder request = TableMessage(NFT_MSG_GETTABLE);
  request.PutString(NFTA_TABLE_NAME, table);
  const absl::Status status = socket_.Request(
      request, fmt::format("list table {}", table),
      [&](const MessageView& message) {
        listing.exists = true;
        return netlink::ForEachAttribute(
            message.AttributesAfter(sizeof(nfgenmsg)),
            [&](const Attribute& attribute) -> absl::Status {
              if (attribute.type == NFTA_TABLE_FLAGS) {
                ASSIGN_OR_RETURN(const uint32_t flags, attribute.Be32());
                listing.dormant = (flags & NFT_TABLE_F_DORMANT) != 0;
              }
              return absl::OkStatus();
            });
      });
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status TableReader::ReadChains(const std::string& table,
                                     Listing& listing) {
  MessageBuilder request = TableMessage(NFT_MSG_GETCHAIN);
  request.PutString(NFTA_CHAIN_TABLE, table);
  return socket_.Dump(
      request, fmt::format("list chains of {}", table),
      [&] { listing.chains.clear(); },
      [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(ChainView view, ReadChain(message));
        // Older kernels list the chains of all tables.
        if (view.table == table) {
          listing.chains[view.name] = std::move(view.chain);
        }
        return absl::OkStatus();
      });
}

absl::Status TableReader::ReadTimeouts(const std::string& table,
                                       Listing& listing) {
  MessageBuilder request = TableMessage(NFT_MSG_GETOBJ);
  request.PutString(NFTA_OBJ_TABLE, table);
  request.PutBe32(NFTA_OBJ_TYPE, NFT_OBJECT_CT_TIMEOUT);
  return socket_.Dump(
      request, fmt::format("list ct timeouts of {}", table),
      [&] { listing.timeouts.clear(); },
      [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(TimeoutView view, ReadTimeout(message));
        if (view.table != table || !view.is_timeout) return absl::OkStatus();
        const std::string name = view.timeout.name;
        listing.timeouts[name] = std::move(view.timeout);
        return absl::OkStatus();
      });
}

absl::StatusOr<std::vector<SetView>> TableReader::ReadSets(
    const std::string& table) {
  MessageBuilder request = TableMessage(NFT_MSG_GETSET);
  request.PutString(NFTA_SET_TABLE, table);
  std::vector<SetView> sets;
  RETURN_IF_ERROR(socket_.Dump(
      request, fmt::format("list sets of {}", table), [&] { sets.clear(); },
      [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(SetView view, ReadSet(message));
        if (view.table == table) sets.push_back(std::move(view));
        return absl::OkStatus();
      }));
  return sets;
}

absl::StatusOr<SetWithElements> TableReader::ReadElements(
    const std::string& table, const SetView& view) {
  SetWithElements whole{view.set, {}};
  const bool split = SplitsRanges(view.set);
  std::vector<Entry> entries;  // of a set that splits ranges
  bool foreign = false;
  RETURN_IF_ERROR(ForEachEntryOf(table, view.set.name, [&](const Entry& entry) {
    foreign |= entry.foreign;
    if (split) {
      entries.push_back(entry);
    } else {
      whole.elements.push_back(entry.element);
    }
    return absl::OkStatus();
  }));
  if (foreign) whole.set.key.clear();
  if (split) {
    whole.elements = JoinRanges(std::move(entries));
  } else {
    std::ranges::sort(whole.elements, {}, &Element::key);
  }
  return whole;
}

absl::Status TableReader::ReadRules(const std::string& table,
                                    const SetText& set_text, Listing& listing) {
  MessageBuilder request = TableMessage(NFT_MSG_GETRULE);
  request.PutString(NFTA_RULE_TABLE, table);
  return socket_.Dump(
      request, fmt::format("list rules of {}", table),
      [&] {
        for (auto& [name, chain] : listing.chains) chain.rules.clear();
      },
      [&](const MessageView& message) -> absl::Status {
        ASSIGN_OR_RETURN(RuleView view, ReadRule(message, set_text));
        const auto chain = listing.chains.find(view.chain);
        if (view.table == table && chain != listing.chains.end()) {
          chain->second.rules.push_back(
              {view.handle, std::move(view.expressions)});
        }
        return absl::OkStatus();
      });
}

// A hash table that has grown is put in order again in the background, also
// when nobody writes any more. A dump goes on by the number of entries that it
// has sent, so each one that moved to the back is sent twice, and one that
// moved to the front is not sent. As many are sent as there are: where none
// came twice, none was left out. So passes are made until one is like that.
absl::Status TableReader::ForEachEntryOf(
    const std::string& table, const std::string& set,
    const std::function<absl::Status(const Entry&)>& each) {
  absl::flat_hash_map<uint64_t, int> last_pass;  // by hash of the key
  for (int pass = 1; pass <= kPasses; ++pass) {
    bool repeated = false;
    RETURN_IF_ERROR(
        DumpEntries(table, set, [&](const Entry& entry) -> absl::Status {
          const Element& element = entry.element;
          int& last = last_pass[absl::HashOf(element.key, element.key_end,
                                             entry.is_end)];
          repeated |= last == pass;
          const bool is_new = last == 0;
          last = pass;
          return is_new ? each(entry) : absl::OkStatus();
        }));
    if (!repeated) return absl::OkStatus();
    std::this_thread::sleep_for(kBetweenPasses * pass);
  }
  return absl::AbortedError(
      fmt::format("list elements of {} {}: they changed their order in each of "
                  "{} tries",
                  table, set, kPasses));
}

absl::Status TableReader::DumpEntries(
    const std::string& table, const std::string& set,
    const std::function<absl::Status(const Entry&)>& each) {
  const std::string what = fmt::format("list elements of {} {}", table, set);
  MessageBuilder request = TableMessage(NFT_MSG_GETSETELEM);
  request.PutString(NFTA_SET_ELEM_LIST_TABLE, table);
  request.PutString(NFTA_SET_ELEM_LIST_SET, set);
  bool begun = false;
  bool again = false;
  return socket_.Dump(
      request, what, [&] { again = std::exchange(begun, true); },
      [&](const MessageView& message) -> absl::Status {
        if (again) return absl::AbortedError("changed while it was read");
        return ForEachEntry(message, each);
      });
}

}  // namespace edged::nftables
