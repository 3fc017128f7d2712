#include "edged/prepare.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <functional>
#include <optional>

#include "common/files.h"
#include "common/netlink/conntrack.h"
#include "common/status.h"
#include "common/unique_fd.h"

namespace edged::edge {
namespace {

// A flow's entry takes about 320 bytes: a full table is 1 % of the memory.
constexpr int64_t kKibPerFlow = 32;
constexpr int64_t kFewestFlows = 32'768;

std::optional<int64_t> Number(std::string_view text) {
  const std::string_view digits =
      text.substr(0, text.find_first_not_of("-0123456789"));
  int64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::optional<int64_t> MemoryKib(const std::string& proc) {
  const auto text = ReadFile(proc + "/meminfo");
  if (!text.ok()) return std::nullopt;
  constexpr std::string_view kName = "MemTotal:";
  const size_t at = text->find(kName);
  if (at == std::string::npos) return std::nullopt;
  const auto rest = std::string_view(*text).substr(at + kName.size());
  return Number(
      rest.substr(std::min(rest.find_first_not_of(' '), rest.size())));
}

// The settings below PROC/sys, by path: "net/ipv6/conf/all/forwarding".
class Sysctls {
 public:
  Sysctls(std::string proc, Preparation& result)
      : folder_(std::move(proc) + "/sys/"), result_(result) {}

  std::optional<int64_t> Get(const std::string& path) const {
    const auto text = ReadFile(folder_ + path);
    return text.ok() ? Number(*text) : std::nullopt;
  }

  // Writes `wanted` unless the present value is `good` already.
  void Set(const std::string& path, int64_t wanted,
           const std::function<bool(int64_t)>& good) {
    const std::string name = absl::StrReplaceAll(path, {{"/", "."}});
    const auto present = Get(path);
    if (!present) {
      result_.warnings.push_back(fmt::format("{}: is not there", name));
    } else if (!good(*present)) {
      if (const absl::Status status = Write(path, wanted); status.ok()) {
        result_.changes.push_back(
            fmt::format("{}: {} -> {}", name, *present, wanted));
      } else {
        result_.warnings.push_back(fmt::format("{}: is {}, should be {}: {}",
                                               name, *present, wanted,
                                               Message(status)));
      }
    }
  }

  std::vector<std::string> List(const std::string& path) const {
    std::vector<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder_ + path, error), end;
         !error && entry != end; entry.increment(error)) {
      names.push_back(entry->path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

 private:
  absl::Status Write(const std::string& path, int64_t value) const {
    const UniqueFd fd(
        open((folder_ + path).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    const std::string text = fmt::format("{}\n", value);
    if (!fd || write(fd.get(), text.data(), text.size()) < 0) {
      return absl::InternalError(strerror(errno));
    }
    return absl::OkStatus();
  }

  const std::string folder_;
  Preparation& result_;
};

void PrepareConntrack(const std::string& proc, Sysctls& sysctls,
                      Preparation& result) {
  const std::string max = "net/netfilter/nf_conntrack_max";
  // Asking for its flows makes the kernel load it.
  if (!sysctls.Get(max)) {
    if (auto conntrack = netlink::Conntrack::Open(); conntrack.ok()) {
      conntrack->ForEachFlow(Family::kIpv4, [](const netlink::Flow&) {})
          .IgnoreError();
    }
  }
  const auto memory = MemoryKib(proc);
  if (!memory) result.warnings.push_back("the size of the memory is unknown");
  const int64_t flows =
      std::max(kFewestFlows, memory.value_or(0) / kKibPerFlow);
  sysctls.Set(max, flows, [flows](int64_t now) { return now >= flows; });
  const auto is_on = [](int64_t now) { return now != 0; };
  sysctls.Set("net/netfilter/nf_conntrack_acct", 1, is_on);
  sysctls.Set("net/netfilter/nf_conntrack_tcp_loose", 1, is_on);
}

// Anybody can forge an ICMP error that tells of a small path to an uplink: for
// ten minutes the kernel then cuts the tunnel's packets to that size. 1280 is
// enough for what the path search falls back to. A path that is smaller in
// truth still works: at this bound the kernel lets routers cut (DF is off).
void PreparePathMtu(Sysctls& sysctls) {
  constexpr int64_t kLeast = 1280;
  sysctls.Set("net/ipv4/route/min_pmtu", kLeast,
              [](int64_t now) { return now >= kLeast; });
}

// A redirect leads the tunnel's packets to whoever sends it, and anybody on the
// provider's segment can send one in the router's name. The kernel itself heeds
// none where the host as a whole forwards; edged makes single devices forward,
// and of those this setting alone is asked. Others are asked by their own.
void PrepareRedirects(Sysctls& sysctls) {
  sysctls.Set("net/ipv4/conf/all/accept_redirects", 0,
              [](int64_t now) { return now == 0; });
}

void PrepareIpv6(Sysctls& sysctls, const std::string& prepared,
                 Preparation& result) {
  const std::string conf = "net/ipv6/conf/";
  const auto names = sysctls.List(conf);
  if (names.empty()) return;  // this host has no IPv6
  // Once it forwards, a device with accept_ra 1 ignores router advertisements
  // and loses its default route.
  for (const std::string& name : names) {
    const std::string device = conf + name;
    if (name == "all" || name == "lo" ||
        sysctls.Get(device + "/accept_ra") != 1 ||
        sysctls.Get(device + "/forwarding") != 0) {
      continue;
    }
    sysctls.Set(device + "/accept_ra", 2, [](int64_t now) { return now == 2; });
  }
  const std::string forwarding = conf + "all/forwarding";
  if (sysctls.Get(forwarding) == 0) {
    const absl::Status status = WriteFileAtomically(prepared, "");
    if (!status.ok()) result.warnings.emplace_back(Message(status));
  }
  sysctls.Set(forwarding, 1, [](int64_t now) { return now == 1; });
}

}  // namespace

Preparation PrepareHost(const std::string& proc, const std::string& prepared) {
  Preparation result;
  Sysctls sysctls(proc, result);
  PrepareConntrack(proc, sysctls, result);
  PreparePathMtu(sysctls);
  PrepareRedirects(sysctls);
  PrepareIpv6(sysctls, prepared, result);
  return result;
}

}  // namespace edged::edge
