#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

namespace edged::agent {

// Finds the largest IP packet that passes the tunnel of one edge, both ways,
// by probes that the edge sends back (path_probe.h), in the spirit of RFC 8899:
// no ICMP error is needed. Pure; sizes are of packets, in bytes.
//
// What this end's links leave is taken for right until three probes of it are
// lost while smaller ones pass; then a small size is in use at once, and a
// larger one as soon as it has passed. The size in use is probed every few
// seconds, a larger one every ten minutes and whenever a link changes. An edge
// that answers no probe at all does not know them: what the links leave is
// used.
class PathSearch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  struct Probe {
    uint64_t number = 0;
    uint32_t size = 0;        // 0: as small as a probe can be
    uint32_t uplink_mtu = 0;  // to be told
    bool operator==(const Probe&) const = default;
  };

  // What the links of this end leave.
  void SetOwn(uint32_t mtu, Time now);
  // The tunnel has come up, maybe by another path or to another edge.
  void Begin(Time now);
  // Something small came back: what is lost from now on is lost by its size.
  void Heard(Time now);
  // A probe of `size` came back, with what the edge's links leave.
  void Echoed(const Probe& probe, uint32_t edge_mtu, Time now);

  // What to send now. To be called again at due(), and after the calls above.
  std::optional<Probe> Next(Time now);
  Time due() const { return due_; }

  // The size in use; 0 before SetOwn().
  uint32_t mtu() const { return mtu_; }

 private:
  uint32_t Most() const;
  void KeepWithin(Time now);
  void Use(uint32_t mtu, bool proven);
  uint32_t Told() const;
  std::optional<uint32_t> Wanted(Time now);
  uint32_t Between() const;
  void Lost(uint32_t size, Time now);
  Duration Patience() const;
  Time& SentAt(uint64_t number) { return sent_[number % sent_.size()]; }

  uint32_t own_ = 0;
  uint32_t edge_ = 0;  // what the edge's links leave; 0: not known
  uint32_t mtu_ = 0;
  bool proven_ = false;   // mtu_ has passed lately
  bool started_ = false;  // some size has passed or failed
  uint32_t failed_ = 0;   // the least that did not pass; 0: none in this search
  bool knows_ = false;    // the edge answers probes
  std::optional<uint32_t> told_;  // what the edge has heard last
  Time check_at_;                 // mtu_ is to be proven again
  Time raise_at_;                 // larger ones are to be tried again
  Time ask_at_;                   // an edge that has not answered, again

  // The last probe.
  uint64_t number_ = 0;
  uint32_t size_ = 0;
  std::array<Time, 16> sent_{};  // of the last ones, by number
  bool waiting_ = false;
  uint32_t tries_ = 0;  // of this size
  Time heard_;
  Duration round_trip_{};
  Time due_;
};

}  // namespace edged::agent
