#include "common/drift/kernel_watch.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <utility>

#include "common/status.h"

namespace edged {

absl::StatusOr<std::unique_ptr<KernelWatch>> KernelWatch::Start(
    EventLoop& loop, OwnPorts own, Consumer consumer) {
  ASSIGN_OR_RETURN(auto table, nftables::Events::Open());
  ASSIGN_OR_RETURN(auto network, netlink::RouteEvents::Open());
  std::unique_ptr<KernelWatch> watch(new KernelWatch(
      loop, own, std::move(consumer), std::move(table), std::move(network)));
  RETURN_IF_ERROR(watch->WatchBoth());
  return watch;
}

KernelWatch::KernelWatch(EventLoop& loop, OwnPorts own, Consumer consumer,
                         nftables::Events table, netlink::RouteEvents network)
    : loop_(loop),
      own_(own),
      consumer_(std::move(consumer)),
      table_(std::move(table)),
      network_(std::move(network)) {}

KernelWatch::~KernelWatch() { Pause(); }

absl::Status KernelWatch::WatchBoth() {
  for (const int fd : {table_.fd(), network_.fd()}) {
    RETURN_IF_ERROR(loop_.Watch(fd, EPOLLIN, [this](uint32_t) { Read(); }));
  }
  return absl::OkStatus();
}

void KernelWatch::Pause() {
  if (std::exchange(paused_, true)) return;
  loop_.Unwatch(table_.fd());
  loop_.Unwatch(network_.fd());
}

void KernelWatch::Resume() {
  if (!std::exchange(paused_, false)) return;
  if (const absl::Status status = WatchBoth(); !status.ok()) {
    spdlog::error("kernel events: {}", Message(status));
  }
  Read();
}

void KernelWatch::CatchUp() {
  if (!paused_) Read();
}

void KernelWatch::Read() {
  const absl::Status table = table_.Read([this](const nftables::Event& event) {
    if (event.port != own_.nft) consumer_.table(event);
  });
  if (!table.ok()) consumer_.table_lost();
  const absl::Status network =
      network_.Read([this](const netlink::RouteEvent& event) {
        if (event.port != own_.rtnetlink) consumer_.network(event);
      });
  if (!network.ok()) consumer_.network_lost();
  consumer_.done();
}

}  // namespace edged
