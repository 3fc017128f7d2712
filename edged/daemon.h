#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/backoff.h"
#include "common/event_loop.h"
#include "common/files.h"
#include "common/namespace_lock.h"
#include "common/netlink/conntrack.h"
#include "common/netlink/rtnetlink.h"
#include "common/nftables/client.h"
#include "common/wireguard/client.h"
#include "edged/config.h"
#include "edged/core/edge_api.h"
#include "edged/core/event_hub.h"
#include "edged/edge.h"
#include "edged/service/api_server.h"
#include "edged/system/guard_table.h"
#include "edged/system/service_manager.h"

namespace edged::edge {

struct DaemonOptions {
  Config config;
  std::string socket = kDefaultSocket;
  std::string wireguard_program;  // of wireguard-go; empty: never start one
};

// The process: opens the kernel's interfaces, follows the enrolment, serves the
// API on the Unix socket always and on the tunnel while there is one.
class Daemon final : public EdgeApi {
 public:
  // FailedPrecondition tells what this host lacks and how to get it.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(
      const DaemonOptions& options);
  ~Daemon() override;

  // Until SIGTERM or SIGINT. The kernel keeps forwarding afterwards.
  absl::Status Run();

  absl::Status Register(const RegisterCall& call) override;
  absl::StatusOr<Welcome> Open(const Hello& hello, SyncStream& stream) override;
  SyncResult Change(SyncStream& stream, ChangeCall call) override;
  void KeyStored(SyncStream& stream, const PublicKey& key) override;
  void Close(SyncStream& stream) override;
  absl::StatusOr<Rotation> RotateKey() override;
  EdgeStatus Status() override;
  absl::StatusOr<std::vector<MappingStatus>> Mappings() override;
  absl::Status Watch(EventStream& stream, size_t recent) override;
  void Unwatch(EventStream& stream) override;

 private:
  struct Kernel {
    std::unique_ptr<nftables::Client> nft;
    std::unique_ptr<wireguard::Client> wireguard;
    netlink::Rtnetlink rtnetlink;
    netlink::Conntrack conntrack;
  };

  Daemon(const DaemonOptions& options, std::unique_ptr<EventLoop> loop,
         FileLock lock, NamespaceLock namespace_lock, Kernel kernel);
  static absl::StatusOr<Kernel> OpenKernel(const DaemonOptions& options);
  absl::Status Begin();
  void FollowEnrolment();
  void FollowRequests();
  void Enrol(const Join& join);
  void Unenrol();
  void HoldGuard();
  void ServeTunnel();
  void TellReady();
  void Stop();

  const DaemonOptions options_;
  std::unique_ptr<EventLoop> loop_;
  FileLock lock_;
  NamespaceLock namespace_lock_;
  Kernel kernel_;
  StateStore store_;
  EventHub events_;
  const ServiceManager service_manager_;
  const WallTime started_ = std::chrono::system_clock::now();
  std::unique_ptr<FolderWatch> watch_;
  std::unique_ptr<Join> join_;
  std::string join_error_;
  std::unique_ptr<GuardTable> guard_;  // while enrolled
  std::string guard_error_;
  Backoff guard_backoff_;
  EventLoop::TimerId guard_timer_ = 0;
  std::unique_ptr<Edge> edge_;
  std::unique_ptr<ApiServer> local_server_;
  std::unique_ptr<ApiServer> tunnel_server_;
  Backoff serve_backoff_;
  EventLoop::TimerId serve_timer_ = 0;
  bool is_stopping_ = false;
  // A gRPC server stops on a thread of its own: its last calls need the loop.
  std::vector<std::jthread> stopping_;
};

}  // namespace edged::edge
