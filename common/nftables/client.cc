#include "common/nftables/client.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/netlink/kernel_error.h"
#include "common/netlink/socket.h"
#include "common/nftables/batch.h"
#include "common/nftables/element_codec.h"
#include "common/nftables/table_message.h"
#include "common/nftables/table_reader.h"
#include "common/status.h"

namespace edged::nftables {
namespace {

using netlink::KernelError;
using netlink::MessageBuilder;
using netlink::MessageView;
using netlink::Socket;
using Clock = std::chrono::steady_clock;

// The kernel answers while it takes the batch; this is for a loaded machine.
constexpr std::chrono::seconds kAckDeadline{10};
constexpr int kListTries = 3;
// The kernel answers each key with a message of its own, and all of them wait
// in the receive buffer at once.
constexpr size_t kKeysPerRequest = 64;
// Each key that is not there costs a request. From so many on the whole set is
// read; else each key is asked for, also of thousands: a dump takes time with
// the square of the set's size, because the kernel goes on by counting anew.
constexpr size_t kManyMissing = 256;

absl::Status NoNfTables() {
  return FailedPrecondition(
      "this kernel has no nf_tables: load the module nf_tables, or boot a "
      "kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET");
}

absl::Status NoPermission() {
  return absl::PermissionDeniedError("nf_tables needs CAP_NET_ADMIN");
}

bool IsRefusedFor(const absl::Status& status, int error) {
  const auto refusal = netlink::KernelErrorOf(status);
  return refusal && refusal->error == error;
}

// As listings have it: a range of one key has no end.
Bytes RangeEnd(const Element& element) {
  return element.key_end == element.key ? Bytes() : element.key_end;
}

class KernelClient : public Client {
 public:
  explicit KernelClient(Socket socket) : socket_(std::move(socket)) {}

  absl::Status Apply(const Transaction& transaction) override {
    ASSIGN_OR_RETURN(const Batch batch, Batch::Seal(transaction, [this] {
                       return socket_.NextSequence();
                     }));
    if (batch.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(
        Annotate(socket_.Send(batch.bytes()), "nf_tables: send a batch"));
    ASSIGN_OR_RETURN(const std::optional<KernelError> error, AwaitAcks(batch));
    if (!error) return absl::OkStatus();
    const bool whole = error->sequence == batch.first_sequence();
    if (whole && error->error == EPERM) return NoPermission();
    return netlink::KernelErrorStatus(*error, batch.Name(*error));
  }

  absl::StatusOr<Listing> List(const std::string& table) override {
    TableReader reader(socket_);
    for (int i = 0; i < kListTries; ++i) {
      ASSIGN_OR_RETURN(const uint32_t before, reader.Generation());
      auto listing = reader.Read(table);
      const bool changed = absl::IsNotFound(listing.status()) ||
                           absl::IsAborted(listing.status());
      if (!listing.ok() && !changed) return listing.status();
      ASSIGN_OR_RETURN(const uint32_t after, reader.Generation());
      if (listing.ok() && before == after) {
        listing->generation = after;
        return listing;
      }
    }
    return absl::AbortedError(fmt::format(
        "list table {}: the ruleset changed during each of {} tries", table,
        kListTries));
  }

  absl::Status ForEachElement(
      const std::string& table, const Set& set,
      const std::function<void(const Element&)>& each) override {
    std::vector<Entry> entries;  // of a set that splits ranges
    const bool split = SplitsRanges(set);
    RETURN_IF_ERROR(TableReader(socket_).ForEachEntryOf(
        table, set.name, [&](const Entry& entry) {
          if (split) {
            entries.push_back(entry);
          } else if (!entry.foreign) {
            each(entry.element);
          }
          return absl::OkStatus();
        }));
    for (const Element& element : JoinRanges(std::move(entries))) each(element);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Element>> GetElements(
      const std::string& table, const Set& set,
      const std::vector<Element>& keys) override {
    // The kernel finds the two ends of a split range apart from each other, so
    // these are picked from the whole set: only true ranges are in such sets.
    if (SplitsRanges(set)) return Pick(table, set, keys);
    std::vector<Element> found;
    found.reserve(keys.size());
    size_t missing = 0;
    for (size_t next = 0; next < keys.size();) {
      if (missing >= kManyMissing) return Pick(table, set, keys);
      ASSIGN_OR_RETURN(const Settled settled,
                       GetSome(table, set, keys, next, found));
      next += settled.keys;
      missing += settled.missing ? 1 : 0;
    }
    return found;
  }

  absl::StatusOr<uint32_t> Generation() override {
    return TableReader(socket_).Generation();
  }

  uint32_t port() const override { return socket_.port(); }

 private:
  // The first refusal; the others follow from it. Reading goes on to the last
  // acknowledgement, so that none is left for a later batch.
  absl::StatusOr<std::optional<KernelError>> AwaitAcks(const Batch& batch) {
    std::optional<KernelError> refusal;
    bool complete = false;
    const auto deadline = Clock::now() + kAckDeadline;
    while (!complete) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      const absl::Status status = socket_.Receive(
          std::max(left, std::chrono::milliseconds(0)),
          [&](const MessageView& message) -> absl::Status {
            if (message.type != NLMSG_ERROR ||
                !batch.Contains(message.sequence)) {
              return absl::OkStatus();
            }
            ASSIGN_OR_RETURN(KernelError error, netlink::ReadAck(message));
            error.sequence = message.sequence;
            const bool refused = error.error != 0;
            complete |= message.sequence == batch.last_sequence();
            complete |= refused && message.sequence == batch.first_sequence();
            if (refused && !refusal) refusal = std::move(error);
            return absl::OkStatus();
          });
      // Whether the batch was taken is not known then: the caller has to look.
      if (!status.ok()) return Annotate(status, "nf_tables: acknowledgements");
    }
    return refusal;
  }

  struct Settled {
    size_t keys = 0;
    bool missing = false;  // the last of them
  };

  // Asks for keys from `next` on and appends those that are there. The kernel
  // answers in order and stops at the first one that is missing.
  absl::StatusOr<Settled> GetSome(const std::string& table, const Set& set,
                                  const std::vector<Element>& keys, size_t next,
                                  std::vector<Element>& found) {
    MessageBuilder request = TableMessage(NFT_MSG_GETSETELEM);
    request.PutString(NFTA_SET_ELEM_LIST_TABLE, table);
    request.PutString(NFTA_SET_ELEM_LIST_SET, set.name);
    const size_t list = request.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
    const size_t count = std::min(kKeysPerRequest, keys.size() - next);
    for (size_t i = 0; i < count; ++i) {
      PutKey(keys[next + i], false, request);
    }
    request.EndNest(list);
    size_t answered = 0;
    const absl::Status status = socket_.RequestMany(
        request, fmt::format("get elements of {} {}", table, set.name),
        [&](const MessageView& message) {
          return ForEachEntry(message, [&](const Entry& entry) {
            const Element& wanted = keys[next + answered++];
            // A range is found by any key inside it.
            if (entry.element.key == wanted.key &&
                entry.element.key_end == RangeEnd(wanted)) {
              found.push_back(entry.element);
            }
            return absl::OkStatus();
          });
        });
    if (status.ok()) return Settled{.keys = count};
    if (!IsRefusedFor(status, ENOENT) || answered == count) return status;
    // Unless the refusal points into the list, the table or the set may be what
    // is missing.
    if (netlink::KernelErrorOf(status)->offset < list) {
      RETURN_IF_ERROR(FindSet(table, set.name));
    }
    return Settled{.keys = answered + 1, .missing = true};
  }

  absl::Status FindSet(const std::string& table, const std::string& set) {
    MessageBuilder request = TableMessage(NFT_MSG_GETSET);
    request.PutString(NFTA_SET_TABLE, table);
    request.PutString(NFTA_SET_NAME, set);
    return socket_.Transact(request,
                            fmt::format("get set {} of {}", set, table));
  }

  absl::StatusOr<std::vector<Element>> Pick(const std::string& table,
                                            const Set& set,
                                            const std::vector<Element>& keys) {
    absl::flat_hash_set<std::pair<Bytes, Bytes>> wanted;
    wanted.reserve(keys.size());
    for (const Element& key : keys) wanted.emplace(key.key, RangeEnd(key));
    std::vector<Element> found;
    RETURN_IF_ERROR(ForEachElement(table, set, [&](const Element& element) {
      if (wanted.contains({element.key, element.key_end})) {
        found.push_back(element);
      }
    }));
    return found;
  }

  Socket socket_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Open() {
  auto socket = Socket::Open(NETLINK_NETFILTER);
  if (absl::IsUnimplemented(socket.status())) return NoNfTables();
  if (!socket.ok()) return socket.status();
  // nfnetlink answers for a part that it does not have.
  const absl::Status status = TableReader(*socket).Generation().status();
  if (IsRefusedFor(status, EPERM)) return NoPermission();
  if (IsRefusedFor(status, EINVAL)) return NoNfTables();
  if (!status.ok()) return status;
  return std::make_unique<KernelClient>(*std::move(socket));
}

}  // namespace edged::nftables
