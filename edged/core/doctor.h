#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/program.h"
#include "edged/core/tunnel_way.h"

// What `edged doctor` knows of a host, and what it says about that. Pure: facts
// in, findings out.

namespace edged::edge {

enum class Severity { kOk, kNote, kWarning, kError };
std::string_view ToString(Severity severity);  // "ok", "note", ...

struct Finding {
  Severity severity = Severity::kOk;
  std::string check;  // one word: "forwarding", "firewall", ...
  std::string what;   // a sentence with names and values
  std::string means;  // what becomes of traffic; empty when all is well
  std::vector<std::string> mend;  // lines to be typed as they are
  bool operator==(const Finding&) const = default;
};

using SystemTime = std::chrono::system_clock::time_point;

enum class Answer { kUnknown, kNo, kYes };

// A port that is mapped, where clients know it and where it arrives.
struct MappedPorts {
  IpAddress public_address;
  IpAddress nic_address;
  Protocol protocol = Protocol::kTcp;
  PortRange ports;
  auto operator<=>(const MappedPorts&) const = default;
};

struct PublicAddressFacts {
  IpAddress address;
  std::optional<IpAddress> nic_address;
  std::string interface;
  std::string error;  // why it is not resolved
};

struct UplinkFacts {
  std::string name;  // or its public key, as far as only the tunnel tells
  std::optional<IpAddress> address;
  std::optional<SocketAddress> endpoint;
  // Of the way to the endpoint.
  std::optional<netlink::LearnedMtu> learned_mtu;
  Answer alive = Answer::kUnknown;
  bool draining = false;
  std::optional<SystemTime> last_handshake;
  std::optional<SystemTime> last_heartbeat;
};

// A socket of this host that takes connections or datagrams.
struct LocalListener {
  Protocol protocol = Protocol::kTcp;
  IpAddress address;  // unspecified: all of this host's, of its family
  uint16_t port = 0;
  std::string process;  // "nginx (pid 812)"; empty: not known
};

// A copy of one of our tables in a file that nft loads.
struct SavedTable {
  std::string file;
  std::string table;  // "inet edged"
  int first_line = 0;
  int last_line = 0;
};

struct EnrolmentFacts {
  std::string edge;
  uint16_t listen_port = 0;
  std::optional<IpPrefix> network;
  std::optional<IpPrefix> network6;  // as edged tells it
  Answer contacted = Answer::kUnknown;
  std::optional<SystemTime> joined;
};

// Whatever could not be seen is unset or empty, and told in `unseen`.
struct DoctorFacts {
  std::vector<std::string> unseen;  // sentences

  SystemTime now;
  Answer clock_synchronized = Answer::kUnknown;
  std::optional<SystemTime> installed;  // when this program was made

  bool root = true;
  bool net_admin = true;  // CAP_NET_ADMIN
  Answer nf_tables = Answer::kUnknown;
  // Of the kernel; and whether a userspace one serves our device.
  Answer kernel_wireguard = Answer::kUnknown;
  Answer userspace_wireguard = Answer::kUnknown;

  Answer running = Answer::kUnknown;  // edged answers on its socket
  Answer enrolled = Answer::kUnknown;
  std::string enrolment_error;  // join.yaml is there but not good
  std::string config_error;     // the same of edged.yaml
  EnrolmentFacts enrolment;

  std::string device = "edged0";
  std::optional<std::vector<netlink::Link>> links;
  // The link with the smallest MTU that a default route names.
  std::optional<std::string> underlay;
  std::map<std::string, int64_t> sysctls;  // "net.ipv4.ip_forward"
  uint64_t memory = 0;                     // bytes; 0: not known

  std::optional<HostRouting> routing;
  std::vector<AskedWay> ways;  // of packets for uplinks

  // As edged tells them itself.
  std::vector<std::string> warnings;
  std::vector<std::string> refused;  // mappings that it does not serve

  std::vector<PublicAddressFacts> addresses;
  std::optional<std::vector<MappedPorts>> mappings;  // sorted
  std::optional<std::vector<UplinkFacts>> uplinks;
  std::vector<LocalListener> listeners;
  std::optional<std::vector<nftables::AnyTable>> tables;
  bool legacy_iptables = false;  // rules that only iptables-legacy shows
  std::vector<SavedTable> saved_tables;
};

// In the order in which a person should read them; one with kOk for each check
// that found nothing.
std::vector<Finding> Diagnose(const DoctorFacts& facts);

// Whose a mapping address is: "fra1"; the address where edged does not tell.
std::string UplinkName(const IpAddress& mapping, const DoctorFacts& facts);

Severity WorstOf(const std::vector<Finding>& findings);

// "tcp 80, 443, 8000-8010; udp 7000": ports that are neighbours joined, of many
// only the first.
std::string PortsText(std::vector<MappedPorts> ports);

}  // namespace edged::edge
