#include "edged/service/status_text.h"

#include <fmt/format.h>

#include "common/table.h"
#include "common/utf8.h"

namespace edged::edge {
namespace {

using SystemTime = std::chrono::system_clock::time_point;

// "3s", "5m10s", "4h20m", "12d", or "-" for none.
std::string Age(const google::protobuf::Timestamp& time, SystemTime now) {
  if (time.seconds() == 0) return "-";
  const auto since =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch())
          .count() -
      time.seconds();
  const auto seconds = std::max<int64_t>(since, 0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3'600) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
  if (seconds < 86'400) {
    return fmt::format("{}h{}m", seconds / 3'600, seconds % 3'600 / 60);
  }
  return fmt::format("{}d", seconds / 86'400);
}

std::string Bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes)
                   : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

double Milliseconds(const google::protobuf::Duration& time) {
  return time.seconds() * 1e3 + time.nanos() / 1e6;
}

std::string OrDash(const std::string& text) {
  return text.empty() ? "-" : text;
}

std::string Life(const v1::UplinkState& uplink) {
  if (uplink.draining()) return "draining";
  return uplink.alive() ? "alive" : "dead";
}

std::string ListenerText(const v1::Listener& listener) {
  const bool range = listener.last_port() > listener.first_port();
  return fmt::format("{} {}/{}{}", listener.public_address(),
                     listener.protocol() == v1::PROTOCOL_UDP ? "udp" : "tcp",
                     listener.first_port(),
                     range ? fmt::format("-{}", listener.last_port()) : "");
}

std::string Summary(const v1::GetStateResponse& state, SystemTime now) {
  std::string text = fmt::format("edged {}, up {}\n", state.version(),
                                 Age(state.started(), now));
  const v1::Enrolment& enrolment = state.enrolment();
  if (!enrolment.enrolled()) {
    return text + "not enrolled: run `edged join TOKEN`\n";
  }
  text += fmt::format("enrolled as {}, cluster {}{}\n", enrolment.edge(),
                      OrDash(enrolment.cluster_uid()),
                      enrolment.contacted() ? "" : ", no contact yet");
  const v1::Tunnel& tunnel = state.tunnel();
  text += fmt::format("tunnel   {} ({} WireGuard), udp {}, mtu {}, {} in {}\n",
                      tunnel.device(), tunnel.backend(), tunnel.listen_port(),
                      tunnel.mtu(), tunnel.address(), tunnel.network());
  if (!tunnel.network6().empty()) {
    text += fmt::format("         IPv6 in {}\n", tunnel.network6());
  }
  text += fmt::format("mappings {} in the kernel", state.mapping_count());
  if (state.has_applied_at()) {
    text += fmt::format(", version {} applied {} ago in {:.2f} ms",
                        state.applied_version(), Age(state.applied_at(), now),
                        Milliseconds(state.apply_time()));
  }
  text += fmt::format(", digest {}\n", state.digest().substr(0, 8));
  if (state.has_epoch()) {
    text += fmt::format("epoch    {}\n", state.epoch().number());
  }
  return text;
}

std::string Who(const v1::Culprit& by) {
  if (by.pid() != 0) return fmt::format("{} (pid {})", by.process(), by.pid());
  if (by.netlink_port() == 0) return "-";
  return fmt::format("netlink port {}", by.netlink_port());
}

// One event as cells: what, by whom, what came of it.
std::vector<std::string> Cells(const v1::WatchEventsResponse& event) {
  if (event.has_flood()) {
    const v1::Flood& flood = event.flood();
    return {flood.over() ? "a flood of changes is over"
                         : "a flood of changes began",
            Who(flood.by()),
            flood.over() ? fmt::format("{} repairs", flood.repairs()) : "-"};
  }
  const v1::Drift& drift = event.drift();
  return {drift.what(), Who(drift.by()),
          drift.error().empty()
              ? fmt::format("repaired in {:.1f} ms", Milliseconds(drift.took()))
              : "not repaired: " + drift.error()};
}

}  // namespace

std::string StatusText(const v1::GetStateResponse& state, SystemTime now) {
  std::string text = Summary(state, now);
  if (!state.addresses().empty()) {
    Table table({"Public address", "On", "Interface", "Problem"});
    for (const v1::ResolvedAddress& address : state.addresses()) {
      table.Add({address.address(), OrDash(address.nic_address()),
                 OrDash(address.interface()), OrDash(address.error())});
    }
    text += "\n" + table.ToString();
  }
  if (!state.uplinks().empty()) {
    Table table({"Uplink", "State", "Address", "Endpoint", "Handshake",
                 "Heartbeat", "Received", "Sent", "MTU", "Carries"});
    for (const v1::UplinkState& uplink : state.uplinks()) {
      table.Add({uplink.name(), Life(uplink), uplink.address(),
                 OrDash(uplink.endpoint()), Age(uplink.last_handshake(), now),
                 Age(uplink.last_heartbeat(), now),
                 Bytes(uplink.received_bytes()), Bytes(uplink.sent_bytes()),
                 uplink.mtu() == 0 ? "-" : fmt::format("{}", uplink.mtu()),
                 uplink.applied_digest().substr(0, 8)});
    }
    text += "\n" + table.ToString();
  }
  if (!state.refused().empty()) {
    Table table({"Refused", "Reason", "Message"});
    for (const v1::RefusedMapping& refused : state.refused()) {
      table.Add({ListenerText(refused.listener()), refused.reason(),
                 refused.message()});
    }
    text += "\n" + table.ToString();
  }
  if (!state.recent_events().empty()) {
    Table table({"Changed by others", "By", "Ago", "Repair"});
    for (const v1::WatchEventsResponse& event : state.recent_events()) {
      auto cells = Cells(event);
      cells.insert(cells.begin() + 2, Age(event.at(), now));
      table.Add(std::move(cells));
    }
    text += "\n" + table.ToString();
  }
  for (const std::string& warning : state.warnings()) {
    text += "\nwarning: " + Escaped(warning);
  }
  if (!state.warnings().empty()) text += "\n";
  return text;
}

}  // namespace edged::edge
