#include "edged/system/doctor_facts.h"

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "common/files.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/any_table_reader.h"
#include "common/nftables/client.h"
#include "common/status.h"
#include "common/wireguard/client.h"
#include "common/wireguard/uapi_socket.h"
#include "edged/core/doctor_checks.h"
#include "edged/core/host_text.h"
#include "edged/core/nft_names.h"
#include "edged/system/way_questions.h"

namespace edged::edge {
namespace {

constexpr char kNftablesConf[] = "/etc/nftables.conf";
constexpr size_t kMostFiles = 64;  // that one nftables.conf includes

constexpr const char* kSysctls[] = {
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv6.conf.all.forwarding",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_tcp_loose",
};

// A file below /proc has no size. Empty when it is missing.
std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<SystemTime> ModifiedAt(const char* path) {
  struct stat status {};
  if (::stat(path, &status) != 0) return std::nullopt;
  return std::chrono::system_clock::from_time_t(status.st_mtime);
}

void LookAtProcess(DoctorFacts& facts) {
  facts.now = std::chrono::system_clock::now();
  facts.root = ::geteuid() == 0;
  const auto capabilities =
      NumberOfLine(ReadWhole("/proc/self/status"), "CapEff", 16);
  facts.net_admin = (capabilities.value_or(0) >> CAP_NET_ADMIN & 1) != 0;
  facts.installed = ModifiedAt("/proc/self/exe");
  timex clock{};
  const int state = ::adjtimex(&clock);
  if (state >= 0) {
    facts.clock_synchronized =
        (clock.status & STA_UNSYNC) == 0 ? Answer::kYes : Answer::kNo;
  }
  const auto kilobytes = NumberOfLine(ReadWhole("/proc/meminfo"), "MemTotal");
  facts.memory = kilobytes.value_or(0) * 1024;
  for (const std::string name : kSysctls) {
    std::string path = "/proc/sys/" + name;
    std::ranges::replace(path.begin() + 10, path.end(), '.', '/');
    std::istringstream text(ReadWhole(path));
    if (int64_t value = 0; text >> value) facts.sysctls[name] = value;
  }
}

absl::Status LookAtLinks(DoctorFacts& facts) {
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(facts.routing, ObserveRouting(rtnetlink));
  facts.links = facts.routing->links;
  constexpr uint32_t kMainTable = 254;
  uint32_t least = 0;
  for (const netlink::Link& link : *facts.links) {
    const bool carries = std::ranges::any_of(
        facts.routing->routes, [&link](const netlink::Route& route) {
          return route.link == link.index && route.destination.length() == 0 &&
                 route.table == kMainTable;
        });
    if (!carries || link.name == facts.device) continue;
    if (least != 0 && link.mtu >= least) continue;
    least = link.mtu;
    facts.underlay = link.name;
  }
  return absl::OkStatus();
}

void LookAtWireguard(DoctorFacts& facts) {
  auto kernel = wireguard::OpenKernelClient();
  facts.kernel_wireguard = kernel.ok() ? Answer::kYes
                           : absl::IsUnimplemented(kernel.status())
                               ? Answer::kNo
                               : Answer::kUnknown;
  const std::string socket =
      fmt::format("{}/{}.sock", wireguard::kSocketFolder, facts.device);
  const absl::Status probed = wireguard::ProbeUapi(socket);
  facts.userspace_wireguard = probed.ok()                ? Answer::kYes
                              : absl::IsNotFound(probed) ? Answer::kNo
                                                         : Answer::kUnknown;
  if (facts.uplinks) return;
  absl::StatusOr<wireguard::Device> device = absl::NotFoundError("no backend");
  if (kernel.ok()) device = (*kernel)->Get(facts.device);
  if (!device.ok() && probed.ok()) {
    device = wireguard::OpenUserspaceClient("")->Get(facts.device);
  }
  if (!device.ok()) return;
  facts.uplinks.emplace();
  for (const wireguard::Peer& peer : device->peers) {
    UplinkFacts& uplink = facts.uplinks->emplace_back();
    uplink.name = "with key " + peer.key.ToString();
    uplink.endpoint = peer.endpoint;
    if (peer.last_handshake != SystemTime{}) {
      uplink.last_handshake = peer.last_handshake;
    }
  }
}

// What the kernel's table maps; public addresses are not in it.
absl::StatusOr<std::vector<MappedPorts>> MappingsOfTable() {
  ASSIGN_OR_RETURN(const auto client, nftables::Client::Open());
  std::vector<MappedPorts> mappings;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const size_t size = family == Family::kIpv4 ? 4 : 16;
    const auto port_at = [&](const nftables::Bytes& key) {
      return static_cast<uint16_t>(key[size + 4] << 8 | key[size + 5]);
    };
    const auto add = [&](const nftables::Element& element) {
      const nftables::Bytes& last =
          element.key_end.empty() ? element.key : element.key_end;
      if (element.key.size() < size + 6 || last.size() < size + 6) return;
      const auto address =
          IpAddress::FromBytes(std::span(element.key).first(size));
      mappings.push_back({address,
                          address,
                          static_cast<Protocol>(element.key[size]),
                          {port_at(element.key), port_at(last)}});
    };
    for (const auto& set : {PortsSet(family), RangesSet(family)}) {
      const absl::Status status = client->ForEachElement(kTable, set, add);
      if (!status.ok() && !absl::IsNotFound(status)) return status;
    }
  }
  std::ranges::sort(mappings);
  return mappings;
}

// Where uplinks' packets go, by what the table translates to.
absl::Status LookAtWays(DoctorFacts& facts) {
  if (!facts.routing || facts.nf_tables != Answer::kYes) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto client, nftables::Client::Open());
  std::vector<IpAddress> addresses;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const size_t size = family == Family::kIpv4 ? 4 : 16;
    const absl::Status status = client->ForEachElement(
        kTable, BackSet(family), [&](const nftables::Element& element) {
          if (element.key.size() != size) return;
          addresses.push_back(IpAddress::FromBytes(element.key));
        });
    if (!status.ok() && !absl::IsNotFound(status)) return status;
  }
  std::ranges::sort(addresses);
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  facts.ways =
      AskWays(rtnetlink, *facts.routing, addresses, PublicInterfaces(facts));
  if (!facts.uplinks) return absl::OkStatus();
  for (UplinkFacts& uplink : *facts.uplinks) {
    if (!uplink.endpoint) continue;
    const auto learned = rtnetlink.LearnedMtuTo(uplink.endpoint->address);
    if (learned.ok()) uplink.learned_mtu = *learned;
  }
  return absl::OkStatus();
}

void LookAtTables(DoctorFacts& facts) {
  auto tables = nftables::ReadAllTables(
      [](const nftables::AnyTable& table) { return table.name != kTable; });
  facts.nf_tables = tables.ok() ? Answer::kYes
                    : absl::IsFailedPrecondition(tables.status())
                        ? Answer::kNo
                        : Answer::kUnknown;
  if (tables.ok()) {
    facts.tables = *std::move(tables);
  } else if (facts.nf_tables == Answer::kUnknown) {
    facts.unseen.push_back(
        fmt::format("other programs' rules: {}", Message(tables.status())));
  }
  facts.legacy_iptables = !ReadWhole("/proc/net/ip_tables_names").empty() ||
                          !ReadWhole("/proc/net/ip6_tables_names").empty();
  if (facts.mappings || facts.nf_tables != Answer::kYes) return;
  auto mappings = MappingsOfTable();
  if (!mappings.ok()) return;
  facts.mappings = *std::move(mappings);
}

// "nginx (pid 812)" by the inode of a socket; only root sees those of others.
std::map<uint64_t, std::string> OwnersOf(const std::set<uint64_t>& inodes) {
  std::map<uint64_t, std::string> owners;
  std::error_code error;
  for (const auto& process :
       std::filesystem::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code denied;
    for (std::filesystem::directory_iterator
             entry(process.path() / "fd", denied),
         end;
         !denied && entry != end; entry.increment(denied)) {
      std::error_code gone;
      const std::string target =
          std::filesystem::read_symlink(entry->path(), gone);
      uint64_t inode = 0;
      if (std::sscanf(target.c_str(), "socket:[%lu]", &inode) != 1 ||
          !inodes.contains(inode)) {
        continue;
      }
      std::string name = ReadWhole(process.path() / "comm");
      while (name.ends_with('\n')) name.pop_back();
      owners[inode] = fmt::format("{} (pid {})", name, pid);
    }
  }
  return owners;
}

void LookAtListeners(DoctorFacts& facts) {
  std::vector<ListeningSocket> sockets;
  for (const auto& [file, protocol] :
       {std::pair("tcp", Protocol::kTcp), std::pair("tcp6", Protocol::kTcp),
        std::pair("udp", Protocol::kUdp), std::pair("udp6", Protocol::kUdp)}) {
    const auto found =
        ParseSockets(ReadWhole(fmt::format("/proc/net/{}", file)), protocol);
    sockets.insert(sockets.end(), found.begin(), found.end());
  }
  std::set<uint64_t> inodes;
  for (const ListeningSocket& socket : sockets) inodes.insert(socket.inode);
  const auto owners = OwnersOf(inodes);
  for (ListeningSocket& socket : sockets) {
    if (const auto owner = owners.find(socket.inode); owner != owners.end()) {
      socket.listener.process = owner->second;
    }
    facts.listeners.push_back(std::move(socket.listener));
  }
}

// The files of a pattern as in nft's include: a name, or a last part with *.
std::vector<std::string> FilesOf(const std::string& pattern) {
  std::filesystem::path path(pattern);
  if (path.is_relative()) path = std::filesystem::path("/etc") / path;
  const std::string last = path.filename();
  const size_t star = last.find('*');
  if (star == std::string::npos) return {path};
  const auto names = ListFolder(path.parent_path());
  if (!names.ok()) return {};
  std::vector<std::string> files;
  for (const std::string& name : *names) {
    if (name.starts_with(last.substr(0, star)) &&
        name.ends_with(last.substr(star + 1))) {
      files.push_back(path.parent_path() / name);
    }
  }
  return files;
}

void LookAtSavedTables(DoctorFacts& facts) {
  std::vector<std::string> files{kNftablesConf};
  for (size_t i = 0; i < files.size() && i < kMostFiles; ++i) {
    const auto text = ReadFile(files[i]);
    if (absl::IsNotFound(text.status())) continue;
    if (!text.ok()) {
      facts.unseen.push_back(std::string(Message(text.status())));
      continue;
    }
    for (SavedTable& saved : FindSavedTables(*text, files[i])) {
      facts.saved_tables.push_back(std::move(saved));
    }
    for (const std::string& pattern : FindIncludes(*text)) {
      for (std::string& file : FilesOf(pattern)) {
        if (std::ranges::find(files, file) == files.end()) {
          files.push_back(std::move(file));
        }
      }
    }
  }
}

}  // namespace

void LookAtHost(DoctorFacts& facts) {
  LookAtProcess(facts);
  if (const absl::Status status = LookAtLinks(facts); !status.ok()) {
    facts.unseen.push_back(
        fmt::format("interfaces and routes: {}", Message(status)));
  }
  LookAtWireguard(facts);
  LookAtTables(facts);
  if (const absl::Status status = LookAtWays(facts); !status.ok()) {
    facts.unseen.push_back(
        fmt::format("the ways to uplinks: {}", Message(status)));
  }
  LookAtListeners(facts);
  LookAtSavedTables(facts);
}

}  // namespace edged::edge
