#include "edged/daemon.h"

#include <spdlog/spdlog.h>

#include <csignal>
#include <utility>

#include "common/status.h"
#include "edged/trace.h"

namespace edged::edge {
namespace {

using std::chrono::milliseconds;

constexpr size_t kRecentEvents = 5;  // that GetState tells

absl::Status NotEnrolled() {
  return FailedPrecondition(
      "this edge is not enrolled; run `edged join TOKEN` on it");
}

}  // namespace

absl::StatusOr<Daemon::Kernel> Daemon::OpenKernel(
    const DaemonOptions& options) {
  ASSIGN_OR_RETURN(auto nft, nftables::Client::Open());
  ASSIGN_OR_RETURN(auto wireguard,
                   wireguard::OpenClient(options.config.wireguard,
                                         options.wireguard_program));
  ASSIGN_OR_RETURN(auto rtnetlink, netlink::Rtnetlink::Open());
  ASSIGN_OR_RETURN(auto conntrack, netlink::Conntrack::Open());
  return Kernel{std::move(nft), std::move(wireguard), std::move(rtnetlink),
                std::move(conntrack)};
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(
    const DaemonOptions& options) {
  ASSIGN_OR_RETURN(const std::string warning,
                   MakePrivateFolder(options.config.state));
  if (!warning.empty()) spdlog::warn("{}", warning);
  ASSIGN_OR_RETURN(FileLock lock,
                   FileLock::Take(options.config.state + "/lock"));
  ASSIGN_OR_RETURN(NamespaceLock namespace_lock, NamespaceLock::Take("edged"));
  ASSIGN_OR_RETURN(Kernel kernel, OpenKernel(options));
  ASSIGN_OR_RETURN(auto loop, EventLoop::Create());
  std::unique_ptr<Daemon> daemon(
      new Daemon(options, std::move(loop), std::move(lock),
                 std::move(namespace_lock), std::move(kernel)));
  RETURN_IF_ERROR(daemon->Begin());
  return daemon;
}

Daemon::Daemon(const DaemonOptions& options, std::unique_ptr<EventLoop> loop,
               FileLock lock, NamespaceLock namespace_lock, Kernel kernel)
    : options_(options),
      loop_(std::move(loop)),
      lock_(std::move(lock)),
      namespace_lock_(std::move(namespace_lock)),
      kernel_(std::move(kernel)),
      store_(options.config.state),
      guard_backoff_(milliseconds(50), std::chrono::seconds(10)),
      serve_backoff_(milliseconds(50), std::chrono::seconds(2)) {}

Daemon::~Daemon() = default;

absl::Status Daemon::Begin() {
  // One whose trace was killed; a running trace keeps its own.
  if (const auto status = RemoveTraceTable(*kernel_.nft); !status.ok()) {
    spdlog::info("{}", Message(status));
  }
  for (const int signal : {SIGTERM, SIGINT}) {
    RETURN_IF_ERROR(loop_->OnSignal(signal, [this, signal] {
      spdlog::info("signal {}: stopping; the kernel goes on forwarding",
                   signal);
      Stop();
    }));
  }
  const size_t slash = options_.socket.rfind('/');
  if (slash != std::string::npos && slash > 0) {
    RETURN_IF_ERROR(MakeFolders(options_.socket.substr(0, slash)));
  }
  ASSIGN_OR_RETURN(watch_,
                   FolderWatch::Start(*loop_, options_.config.state, [this] {
                     FollowEnrolment();
                     FollowRequests();
                   }));
  ASSIGN_OR_RETURN(local_server_,
                   ApiServer::Start("unix:" + options_.socket, *loop_, *this));
  FollowEnrolment();
  FollowRequests();
  if (const auto interval = service_manager_.alive_interval()) {
    loop_->Every(*interval, [this] { service_manager_.Alive(); });
  }
  TellReady();
  return absl::OkStatus();
}

absl::Status Daemon::Run() {
  loop_->Run();
  return absl::OkStatus();
}

// ---- enrolment ----

void Daemon::FollowEnrolment() {
  auto join = LoadJoin(options_.config.state);
  if (!join.ok() && !absl::IsNotFound(join.status())) {
    const std::string error(Message(join.status()));
    if (error != join_error_) spdlog::error("{}; what runs goes on", error);
    join_error_ = error;
    return;
  }
  join_error_.clear();
  if (join.ok()) {
    if (!join_ || *join_ != *join) Enrol(*join);
  } else if (join_) {
    spdlog::info("enrolment as {} was removed", join_->edge);
    Unenrol();
  }
  if (!join_) spdlog::info("not enrolled; waiting for `edged join TOKEN`");
}

void Daemon::FollowRequests() {
  if (edge_ && TakeForgetEpochRequest(options_.config.state)) {
    spdlog::info("the highest epoch is forgotten, as `edged reset` asked");
    edge_->ForgetEpoch();
  }
}

void Daemon::Enrol(const Join& join) {
  if (join_) {
    Join as_before = join;
    as_before.cluster_uid = join_->cluster_uid;
    if (as_before == *join_) {
      edge_.reset();  // only the owner changed: the kernel stays as it is
    } else {
      Unenrol();
    }
  }
  join_ = std::make_unique<Join>(join);
  spdlog::info(
      "enrolled as {} of cluster {}, network {}, udp {}", join.edge,
      join.cluster_uid.empty() ? "(the first that calls)" : join.cluster_uid,
      join.network.ToString(), join.listen_port);
  HoldGuard();
  edge_ = std::make_unique<Edge>(
      *loop_,
      KernelClients{*kernel_.nft, *kernel_.wireguard, kernel_.rtnetlink,
                    kernel_.conntrack},
      store_,
      Edge::Options{
          .join = join,
          .reserved_ports = options_.config.reserved_ports,
          .serving = [this] { ServeTunnel(); },
          .tell = [this](const EdgeEvent& event) { events_.Tell(event); }});
  edge_->Start();
}

void Daemon::Unenrol() {
  loop_->Cancel(std::exchange(serve_timer_, 0));
  if (tunnel_server_) {
    stopping_.emplace_back(
        [server = std::move(tunnel_server_)]() mutable { server.reset(); });
  }
  const absl::Status status = edge_->Remove();
  edge_.reset();
  join_.reset();
  loop_->Cancel(std::exchange(guard_timer_, 0));
  guard_.reset();
  guard_error_.clear();
  TellReady();
  if (status.ok()) {
    spdlog::info("removed the table, the device and their state");
  } else {
    spdlog::error("removing what was made: {}", Message(status));
  }
}

// The process before this one may still be about to end: then its guard is in
// the way.
void Daemon::HoldGuard() {
  guard_timer_ = 0;
  if (guard_ || options_.config.ownership == Ownership::kNone) return;
  auto guard = GuardTable::Hold();
  if (guard.ok()) {
    guard_ = *std::move(guard);
    guard_error_.clear();
    guard_backoff_.Reset();
    return;
  }
  if (guard_error_.empty()) {
    spdlog::warn("{}; connections will not outlive a flush of the ruleset",
                 Message(guard.status()));
  }
  guard_error_ = Message(guard.status());
  guard_timer_ = loop_->After(guard_backoff_.Next(), [this] { HoldGuard(); });
}

void Daemon::ServeTunnel() {
  loop_->Cancel(std::exchange(serve_timer_, 0));
  if (!edge_ || tunnel_server_) return;
  const auto address = edge_->api_address();
  if (!address) return;
  TellReady();
  auto server = ApiServer::Start(address->ToString(), *loop_, *this);
  if (server.ok()) {
    tunnel_server_ = *std::move(server);
    serve_backoff_.Reset();
    spdlog::info("api: serving on {}", address->ToString());
    return;
  }
  spdlog::error("api: {}", Message(server.status()));
  loop_->Cancel(serve_timer_);
  serve_timer_ = loop_->After(serve_backoff_.Next(), [this] { ServeTunnel(); });
}

// Ready is who serves the socket and, when enrolled, has programmed the kernel.
void Daemon::TellReady() {
  if (!local_server_ || (edge_ && !edge_->api_address())) return;
  service_manager_.Ready(join_ ? "enrolled as " + join_->edge
                               : "not enrolled; waiting for `edged join`");
}

void Daemon::Stop() {
  if (std::exchange(is_stopping_, true)) return;
  service_manager_.Stopping();
  edge_.reset();
  watch_.reset();
  // Those that stop already need the loop too.
  stopping_.emplace_back([this, earlier = std::move(stopping_),
                          local = std::move(local_server_),
                          tunnel = std::move(tunnel_server_)]() mutable {
    earlier.clear();
    tunnel.reset();
    local.reset();
    loop_->Stop();
  });
}

// ---- the API ----

absl::Status Daemon::Register(const RegisterCall& call) {
  return edge_ ? edge_->Register(call) : NotEnrolled();
}

absl::StatusOr<Welcome> Daemon::Open(const Hello& hello, SyncStream& stream) {
  if (!edge_) return NotEnrolled();
  return edge_->Open(hello, stream);
}

SyncResult Daemon::Change(SyncStream& stream, ChangeCall call) {
  if (edge_) return edge_->Change(stream, std::move(call));
  return {.version = std::visit([](const auto& c) { return c.version; }, call),
          .status = NotEnrolled()};
}

void Daemon::Close(SyncStream& stream) {
  if (edge_) edge_->Close(stream);
}

void Daemon::KeyStored(SyncStream& stream, const PublicKey& key) {
  if (edge_) edge_->KeyStored(stream, key);
}

absl::StatusOr<Rotation> Daemon::RotateKey() {
  if (!edge_) return NotEnrolled();
  return edge_->RotateKey();
}

EdgeStatus Daemon::Status() {
  EdgeStatus status;
  status.started = started_;
  status.backend =
      std::string(wireguard::ToString(kernel_.wireguard->backend()));
  if (edge_) edge_->FillStatus(status);
  for (const std::string* warning : {&join_error_, &guard_error_}) {
    if (!warning->empty()) status.warnings.push_back(*warning);
  }
  status.recent_events = events_.Recent(kRecentEvents);
  return status;
}

absl::StatusOr<std::vector<MappingStatus>> Daemon::Mappings() {
  if (!edge_) return std::vector<MappingStatus>();
  return edge_->Mappings();
}

absl::Status Daemon::Watch(EventStream& stream, size_t recent) {
  return events_.Watch(stream, recent);
}

void Daemon::Unwatch(EventStream& stream) { events_.Unwatch(stream); }

}  // namespace edged::edge
