#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/netlink/message.h"
#include "common/nftables/ruleset.h"

// Elements as entries of NFTA_SET_ELEM_LIST_ELEMENTS. Encoded and read byte by
// byte, without libnftnl's object per element: a set can have 60,000.

namespace edged::nftables {

// Ranges over one value alone are kept by the kernel as two entries, the first
// key and the key after the last, flagged as an end. Everywhere else a range is
// one entry with two keys.
bool SplitsRanges(const Set& set);

// How many entries PutElement and PutKey make.
size_t EntriesOf(const Element& element, bool split);

// Puts the entries of `element`, or of its key alone to delete or find it. They
// do not check sizes: CheckElement does. In a concatenation the kernel takes
// any range that contains the first key for the one that was meant (6.18), to
// find and to delete.
void PutElement(const Element& element, bool split,
                netlink::MessageBuilder& message);
void PutKey(const Element& element, bool split,
            netlink::MessageBuilder& message);

// The kernel's form of one element.
struct Entry {
  Element element;
  bool is_end = false;   // an end of a range, where they are split
  bool foreign = false;  // what `Element` cannot say: `*`, a verdict of others
};

// Reads the entries of one NFT_MSG_NEWSETELEM. The entry is only valid during
// the call.
absl::Status ForEachEntry(
    const netlink::MessageView& message,
    const std::function<absl::Status(const Entry&)>& each);

// Entries of a set that splits ranges, in any order, as elements sorted by key.
std::vector<Element> JoinRanges(std::vector<Entry> entries);

// The position in the list of the entry at `offset` (from the start of the
// message `bytes`); unset when there is none.
std::optional<size_t> EntryAt(std::span<const uint8_t> bytes, uint32_t offset);

// "{ 0a000001 - 0a000009 : 50, ... }": register bytes in hex, sorted.
std::string EntriesText(const std::vector<Entry>& entries);
std::string ElementsText(const std::vector<Element>& elements);

}  // namespace edged::nftables
