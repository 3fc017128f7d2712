#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/netlink/route_events.h"
#include "common/nftables/events.h"

namespace edged {

// Tells what others do to nf_tables and to the network of this host; our own
// changes are left out. Belongs to the loop thread.
class KernelWatch {
 public:
  struct Consumer {
    std::function<void(const nftables::Event&)> table;
    std::function<void(const netlink::RouteEvent&)> network;
    // The kernel had to drop some, or could not be heard for a while.
    std::function<void()> table_lost;
    std::function<void()> network_lost;
    // After all that waited was handed over.
    std::function<void()> done;
  };

  // The netlink ports of our own sockets.
  struct OwnPorts {
    uint32_t nft = 0;
    uint32_t rtnetlink = 0;
  };

  // `loop` outlives it. A call of `consumer` may pause it, not destroy it.
  static absl::StatusOr<std::unique_ptr<KernelWatch>> Start(EventLoop& loop,
                                                            OwnPorts own,
                                                            Consumer consumer);
  ~KernelWatch();

  // While paused nothing is read: what does not find room is lost at no cost.
  void Pause();
  void Resume();   // hands over what waits, before it returns
  void CatchUp();  // the same, unless it is paused

  nftables::Events& table_events() { return table_; }

 private:
  KernelWatch(EventLoop& loop, OwnPorts own, Consumer consumer,
              nftables::Events table, netlink::RouteEvents network);
  absl::Status WatchBoth();
  void Read();

  EventLoop& loop_;
  const OwnPorts own_;
  const Consumer consumer_;
  nftables::Events table_;
  netlink::RouteEvents network_;
  bool paused_ = false;
};

}  // namespace edged
