#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/netlink/socket.h"
#include "common/nftables/ruleset.h"

// Who changes tables of family inet in this network namespace, and what. One
// socket, apart from the client's. Not thread-safe.

namespace edged::nftables {

enum class EventKind { kAdded, kDeleted };
enum class EventObject { kTable, kChain, kRule, kSet, kElements, kOther };

// One object that a batch added or deleted; of elements and rules one event for
// many in a row. A deleted table comes with all that it held.
struct Event {
  EventKind kind = EventKind::kAdded;
  EventObject object = EventObject::kOther;
  std::string table;
  std::string name;  // of the chain or set, also of a rule's or an element's
  // The socket that sent the batch: Client::port() tells our own.
  uint32_t port = 0;
  uint32_t pid = 0;  // of the thread that did; 0: not known
  std::string process;
  size_t count = 1;  // how many rules or elements
  // Of kElements: which, as they were or are; fewer than `count` when there are
  // more than 64, or some that `Element` cannot say.
  std::vector<Element> elements;
  bool operator==(const Event&) const = default;
};

class Events {
 public:
  static absl::StatusOr<Events> Open();

  int fd() const { return socket_.fd(); }

  // Hands over the events of all batches that are complete, without waiting.
  // Unavailable when the kernel had to drop some: look at the table then.
  absl::Status Read(const std::function<void(const Event&)>& consume);

  // With a subscriber a load of many elements is about ten times slower, and
  // takes a page of kernel memory for each (60,000: 250 MB, which kills small
  // machines): leave the group meanwhile. What happens then is not seen.
  absl::Status Suspend();
  absl::Status Resume();

 private:
  explicit Events(netlink::Socket socket) : socket_(std::move(socket)) {}

  void Append(Event event);
  absl::Status Take(const netlink::MessageView& message,
                    const std::function<void(const Event&)>& consume);
  absl::Status Finish(const netlink::MessageView& message,
                      const std::function<void(const Event&)>& consume);

  netlink::Socket socket_;
  // Of a batch whose end has not been read: it tells the process.
  std::vector<Event> pending_;
};

}  // namespace edged::nftables
