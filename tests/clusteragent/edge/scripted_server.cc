#include "tests/clusteragent/edge/scripted_server.h"

#include <chrono>
#include <thread>
#include <utility>

namespace edged::agent {

ScriptedServer::ScriptedServer(SyncScript script) : script_(std::move(script)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

ScriptedServer::~ScriptedServer() { Stop(); }

SocketAddress ScriptedServer::address() const {
  return {IpAddress::FromIpv4(0x7f000001), static_cast<uint16_t>(port_)};
}

void ScriptedServer::Stop() {
  if (!server_) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

void ScriptedServer::AnswerRegister(grpc::Status status) {
  const MutexLock lock(mutex_);
  register_answer_ = std::move(status);
}

std::vector<v1::RegisterRequest> ScriptedServer::registered() {
  const MutexLock lock(mutex_);
  return registered_;
}

grpc::Status ScriptedServer::Register(grpc::ServerContext*,
                                      const v1::RegisterRequest* request,
                                      v1::RegisterResponse*) {
  const MutexLock lock(mutex_);
  registered_.push_back(*request);
  return register_answer_;
}

grpc::Status ScriptedServer::Sync(grpc::ServerContext* context,
                                  Stream* stream) {
  return script_(*stream, *context);
}

grpc::Status ScriptedServer::WatchEvents(
    grpc::ServerContext* context, const v1::WatchEventsRequest* request,
    grpc::ServerWriter<v1::WatchEventsResponse>* writer) {
  for (uint32_t i = 1; i <= request->recent(); ++i) {
    v1::WatchEventsResponse event;
    event.mutable_at()->set_seconds(i);
    event.mutable_drift()->set_what(std::to_string(i));
    writer->Write(event);
  }
  while (!context->IsCancelled()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return grpc::Status::CANCELLED;
}

v1::SyncResponse WelcomeResponse(const std::string& version) {
  v1::SyncResponse response;
  response.mutable_welcome()->set_version(version);
  return response;
}

v1::SyncResponse ResultResponse(uint64_t version) {
  v1::SyncResponse response;
  response.mutable_result()->set_version(version);
  response.mutable_result()->set_ack(true);
  return response;
}

v1::SyncResponse ReportResponse(uint32_t mtu) {
  v1::SyncResponse response;
  response.mutable_report()->set_mtu(mtu);
  return response;
}

}  // namespace edged::agent
