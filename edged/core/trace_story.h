#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/nftables/trace.h"
#include "edged/core/trace_scene.h"

// Packets' ways through this host, from what the kernel tells of each rule, in
// words. Pure.

namespace edged::edge {

class TraceStory {
 public:
  using Time = std::chrono::milliseconds;  // since the trace began

  TraceStory(TraceScene scene, size_t most_flows)
      : scene_(std::move(scene)), most_flows_(most_flows) {}

  // Each returns the lines that there are to say now.
  std::vector<std::string> Take(const nftables::TraceEvent& event, Time now);
  // To be called now and then: some things are known by waiting.
  std::vector<std::string> Wait(Time now);
  // The end; `lost`: the kernel could not tell of all packets.
  std::vector<std::string> Finish(Time now, bool lost);

  // As many flows as were asked for have come, and each has its end.
  bool complete() const;
  size_t packets() const { return packet_count_; }
  // At least one flow, and every one was answered.
  bool all_answered() const;

 private:
  enum class End {
    kNone,
    kAnswered,
    kRefused,
    kDropped,
    kLocal,
    kElsewhere,  // others' rules or routes took it
    kLost
  };

  struct Flow {
    SocketAddress client;
    Time began{};
    std::string uplink;  // where it was sent; empty: nowhere yet
    bool told = false;   // the way of its first packet
    End end = End::kNone;
  };

  struct Packet {
    size_t flow = 0;
    bool answer = false;
    bool icmp = false;
    nftables::TracedPacket first;
    nftables::TracedPacket last;
    std::string group;               // that it was translated by
    std::string hook;                // the last one that it was in
    bool judged = false;             // our table was asked whether it is mapped
    bool reserved = false;           // and said that it never is
    std::vector<std::string> taker;  // the rule of others that translated it
    Time seen{};
  };

  Packet* Begin(const nftables::TraceEvent& event, Time now);
  std::optional<size_t> FlowOf(const SocketAddress& client, bool may_begin,
                               Time now);
  void Follow(Packet& packet, const nftables::TraceEvent& event, Time now);
  bool IsAtEnd(const nftables::TraceEvent& event) const;
  std::vector<std::string> EndOf(const Packet& packet,
                                 const nftables::TraceEvent& event, Time now);
  std::vector<std::string> Dropped(const Packet& packet,
                                   const nftables::TraceEvent& event);
  std::vector<std::string> Vanished(const Packet& packet);
  std::vector<std::string> Passed(const Packet& packet, Time now);
  std::vector<std::string> WayOf(const Packet& packet);
  std::vector<std::string> Elsewhere(const Packet& packet) const;
  std::string WhyNotTranslated(const Packet& packet) const;
  std::string Name(const Flow& flow) const;

  TraceScene scene_;
  size_t most_flows_;
  std::vector<Flow> flows_;
  std::map<uint32_t, Packet> packets_;  // on their way, by the kernel's id
  size_t packet_count_ = 0;
};

}  // namespace edged::edge
