#pragma once

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "common/event_loop.h"
#include "edged/service/api_server.h"
#include "edged/v1/edge.grpc.pb.h"
#include "tests/common/temporary_folder.h"
#include "tests/fakes/fake_edge_api.h"

namespace edged::edge {

// A Sync stream as a client has it. Every call on it ends within 20 s.
class ClientStream {
 public:
  explicit ClientStream(v1::EdgeService::Stub& stub) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(20));
    stream = stub.Sync(&context);
  }

  bool SayHello(uint64_t epoch = 1) {
    v1::SyncRequest request;
    request.mutable_hello()->mutable_epoch()->set_cluster_uid("7a1c");
    request.mutable_hello()->mutable_epoch()->set_number(epoch);
    return stream->Write(request);
  }
  bool Write(const v1::SnapshotChunk& chunk) {
    v1::SyncRequest request;
    *request.mutable_snapshot() = chunk;
    return stream->Write(request);
  }
  bool Write(const v1::Delta& delta) {
    v1::SyncRequest request;
    *request.mutable_delta() = delta;
    return stream->Write(request);
  }
  // An empty message when the stream is over.
  v1::SyncResponse Read() {
    v1::SyncResponse response;
    if (!stream->Read(&response)) response.Clear();
    return response;
  }
  // How the server ended it: "INVALID_ARGUMENT: sync request: ...".
  std::string End() {
    v1::SyncResponse rest;
    while (stream->Read(&rest)) {
    }
    const grpc::Status status = stream->Finish();
    return absl::StatusCodeToString(
               static_cast<absl::StatusCode>(status.error_code())) +
           (status.ok() ? "" : ": " + status.error_message());
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SyncRequest, v1::SyncResponse>>
      stream;
};

// The real gRPC server on a Unix socket, a real loop on a thread of its own,
// and a fake edge behind them.
class RunningService {
 public:
  RunningService() : socket(folder / "edged.sock") {
    auto created = EventLoop::Create();
    REQUIRE(created.ok());
    loop = *std::move(created);
    thread_ = std::thread([this] { loop->Run(); });
    auto started = ApiServer::Start("unix:" + socket, *loop, api);
    REQUIRE(started.status() == absl::OkStatus());
    server = *std::move(started);
    channel = NewChannel();
    stub = v1::EdgeService::NewStub(channel);
  }

  ~RunningService() {
    stub.reset();
    channel.reset();
    server.reset();
    loop->Stop();
    thread_.join();
  }

  // One that shares its connection with no other.
  std::shared_ptr<grpc::Channel> NewChannel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(
        "unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
  }

  // Asks or changes `api` on the loop thread.
  template <typename Call>
  auto OnLoop(Call call) {
    std::packaged_task<std::invoke_result_t<Call>()> task(std::move(call));
    auto result = task.get_future();
    loop->Post([&task] { task(); });
    return result.get();
  }

  // False when it did not become true within 10 s.
  bool Eventually(const std::function<bool()>& on_loop) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!OnLoop(on_loop)) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  TemporaryFolder folder;
  const std::string socket;
  FakeEdgeApi api;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<ApiServer> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::EdgeService::Stub> stub;

 private:
  std::thread thread_;
};

}  // namespace edged::edge
