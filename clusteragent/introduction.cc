#include "clusteragent/introduction.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "common/status.h"

namespace edged::agent {

Introduction::Introduction(EventLoop& loop, Uplink& uplink, std::string edge,
                           Dial dial,
                           std::function<void(const absl::Status&)> done)
    : loop_(loop),
      uplink_(uplink),
      edge_(std::move(edge)),
      dial_(std::move(dial)),
      done_(std::move(done)) {}

Introduction::~Introduction() { GiveUp(); }

void Introduction::Begin(const absl::StatusOr<UplinkDevice>& device,
                         const SocketAddress& api, const Epoch& epoch,
                         const protocol::Uplink& own) {
  if (under_way()) return;
  if (!device.ok()) return done_(device.status());
  device_ = device->wireguard.name;
  const absl::Status added = uplink_.AddControlDevice(*device);
  if (!added.ok()) return End(added);
  client_ = dial_(loop_, api);
  client_->Register(epoch, own, edge_,
                    [this](const absl::Status& status) { End(status); });
}

void Introduction::End(const absl::Status& status) {
  const absl::Status ended = status;  // the client's own
  GiveUp();
  done_(ended);
}

void Introduction::GiveUp() {
  client_.reset();
  if (!under_way()) return;
  const std::string device = std::exchange(device_, "");
  const absl::Status status = uplink_.RemoveControlDevice(device);
  if (!status.ok()) spdlog::error("device {}: {}", device, Message(status));
}

}  // namespace edged::agent
