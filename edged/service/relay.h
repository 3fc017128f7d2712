#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/unique_fd.h"
#include "edged/service/frame_gate.h"

namespace edged::edge {

// Carries the bytes of one TCP connection between its client and gRPC, through
// a FrameGate. It reads from neither side while the other one does not take
// what is there, so whoever asks too often, or takes no answers, fills the
// buffers of its own socket and nobody's memory. Lives on the loop thread and
// keeps itself alive until one side closes.
class Relay : public std::enable_shared_from_this<Relay> {
 public:
  // Hears what the client does that it should not: once that it asks for
  // too much, and why it is hung up on.
  using Complain = std::function<void(std::string_view what)>;

  // Gives gRPC's end, non-blocking. `pace` is shared by the client's relays.
  static absl::StatusOr<UniqueFd> Start(EventLoop& loop, UniqueFd client,
                                        std::shared_ptr<ClientPace> pace,
                                        Complain complain);

 private:
  struct Side {
    UniqueFd fd;
    uint32_t watched = 0;          // 0: not watched
    std::vector<uint8_t> waiting;  // to be written to it
  };

  Relay(EventLoop& loop, UniqueFd client, std::shared_ptr<ClientPace> pace,
        Complain complain);

  void Read(Side& from, Side& to);
  static absl::Status Write(Side& to, size_t& size);
  void Carry();
  absl::Status Admit();
  void Listen();
  void Watch(Side& side, uint32_t events);
  void End();

  EventLoop& loop_;
  const std::shared_ptr<ClientPace> pace_;
  const Complain complain_;
  FrameGate gate_;
  Side client_;
  Side grpc_;
  size_t admitted_ = 0;    // of the bytes that wait for gRPC
  bool is_over_ = false;   // gRPC has closed its end
  bool was_held_ = false;  // and it was complained of
  EventLoop::TimerId again_ = 0;
};

}  // namespace edged::edge
