#include "edged/prepare.h"

#include <absl/strings/str_join.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <string>

#include "common/files.h"
#include "tests/common/temporary_folder.h"

namespace edged::edge {
namespace {

// Files below a folder that stands for /proc.
class Host {
 public:
  using Values = std::map<std::string, std::string>;

  explicit Host(const Values& sysctls,
                const std::string& memory_kib = "262144") {
    Write("meminfo", "MemTotal:       " + memory_kib + " kB\nMemFree: 1 kB\n");
    for (const auto& [path, value] : sysctls) Write("sys/net/" + path, value);
  }

  std::string Prepare() {
    const Preparation result =
        PrepareHost(proc_.path(), proc_ / "run/prepared");
    std::string text;
    for (const auto& line : result.changes) text += "set " + line + "\n";
    for (const auto& line : result.warnings) text += "warning: " + line + "\n";
    return text;
  }

  bool IsMarked() const { return ReadFile(proc_ / "run/prepared").ok(); }

  std::string Get(const std::string& path) const {
    return ReadFile(proc_ / ("sys/net/" + path)).value_or("none");
  }

 private:
  void Write(const std::string& path, const std::string& value) {
    REQUIRE(WriteFileAtomically(proc_ / path, value + "\n").ok());
  }

  TemporaryFolder proc_;
};

// A machine of 256 MB as Debian 12 starts it.
Host::Values Debian() {
  return {{"ipv4/route/min_pmtu", "1280"},
          {"ipv4/conf/all/accept_redirects", "0"},
          {"netfilter/nf_conntrack_max", "2048"},
          {"netfilter/nf_conntrack_acct", "0"},
          {"netfilter/nf_conntrack_tcp_loose", "1"}};
}

Host::Values WithIpv6(Host::Values values) {
  values.merge(Host::Values{{"ipv6/conf/all/forwarding", "0"},
                            {"ipv6/conf/all/accept_ra", "1"},
                            {"ipv6/conf/default/forwarding", "0"},
                            {"ipv6/conf/default/accept_ra", "1"},
                            {"ipv6/conf/eth0/forwarding", "0"},
                            {"ipv6/conf/eth0/accept_ra", "1"},
                            {"ipv6/conf/eth1/forwarding", "0"},
                            {"ipv6/conf/eth1/accept_ra", "0"},
                            {"ipv6/conf/eth2/forwarding", "1"},
                            {"ipv6/conf/eth2/accept_ra", "1"},
                            {"ipv6/conf/lo/forwarding", "0"},
                            {"ipv6/conf/lo/accept_ra", "1"}});
  return values;
}

TEST_CASE("prepare: sets what a small machine lacks, once", "[prepare]") {
  Host::Values values = Debian();
  values["ipv4/route/min_pmtu"] = "552";
  values["ipv4/conf/all/accept_redirects"] = "1";
  Host host(values);
  CHECK(host.Prepare() ==
        "set net.netfilter.nf_conntrack_max: 2048 -> 32768\n"
        "set net.netfilter.nf_conntrack_acct: 0 -> 1\n"
        "set net.ipv4.route.min_pmtu: 552 -> 1280\n"
        "set net.ipv4.conf.all.accept_redirects: 1 -> 0\n");
  CHECK(host.Get("netfilter/nf_conntrack_max") == "32768\n");
  CHECK(host.Prepare().empty());
}

TEST_CASE("prepare: sizes the connection table by memory, never down",
          "[prepare]") {
  auto values = Debian();
  values["netfilter/nf_conntrack_acct"] = "1";
  CHECK(Host(values, "8388608").Prepare() ==
        "set net.netfilter.nf_conntrack_max: 2048 -> 262144\n");
  values["netfilter/nf_conntrack_max"] = "500000";
  CHECK(Host(values, "8388608").Prepare().empty());
}

TEST_CASE("prepare: turns loose pick-up of TCP on again", "[prepare]") {
  auto values = Debian();
  values["netfilter/nf_conntrack_max"] = "65536";
  values["netfilter/nf_conntrack_acct"] = "1";
  values["netfilter/nf_conntrack_tcp_loose"] = "0";
  CHECK(Host(values).Prepare() ==
        "set net.netfilter.nf_conntrack_tcp_loose: 0 -> 1\n");
}

TEST_CASE("prepare: forwards IPv6 and keeps what router advertisements gave",
          "[prepare]") {
  auto values = Debian();
  values["netfilter/nf_conntrack_max"] = "65536";
  values["netfilter/nf_conntrack_acct"] = "1";
  Host host(WithIpv6(values));
  CHECK(host.Prepare() ==
        "set net.ipv6.conf.default.accept_ra: 1 -> 2\n"
        "set net.ipv6.conf.eth0.accept_ra: 1 -> 2\n"
        "set net.ipv6.conf.all.forwarding: 0 -> 1\n");
  CHECK(host.Get("ipv6/conf/eth0/accept_ra") == "2\n");
  CHECK(host.Get("ipv6/conf/eth1/accept_ra") == "0\n");
  CHECK(host.Get("ipv6/conf/eth2/accept_ra") == "1\n");
  CHECK(host.Prepare().empty());
  CHECK(host.IsMarked());
}

TEST_CASE("prepare: takes no credit for a router that was one before",
          "[prepare]") {
  auto values = WithIpv6(Debian());
  values["ipv6/conf/all/forwarding"] = "1";
  Host host(values);
  host.Prepare();
  CHECK(!host.IsMarked());
}

TEST_CASE("prepare: says what is missing and goes on", "[prepare]") {
  auto values = Debian();
  values.erase("netfilter/nf_conntrack_tcp_loose");
  CHECK(Host(values, "").Prepare() ==
        "set net.netfilter.nf_conntrack_max: 2048 -> 32768\n"
        "set net.netfilter.nf_conntrack_acct: 0 -> 1\n"
        "warning: the size of the memory is unknown\n"
        "warning: net.netfilter.nf_conntrack_tcp_loose: is not there\n");
}

}  // namespace
}  // namespace edged::edge
