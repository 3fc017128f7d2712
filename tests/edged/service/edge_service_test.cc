// Everything but Sync, asked by a real client over a Unix socket.

#include <grpcpp/generic/generic_stub.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <latch>
#include <thread>

#include "common/record_proto/record_proto.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "common/version.h"
#include "edged/service/local_client.h"
#include "edged/service/reflection_service.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/edged/service/running_service.h"

namespace edged::edge {
namespace {

std::string WordsOf(const grpc::Status& status) {
  return absl::StatusCodeToString(
             static_cast<absl::StatusCode>(status.error_code())) +
         (status.ok() ? "" : ": " + status.error_message());
}

struct Page {
  std::string listeners;  // "203.0.113.1 tcp/80; "
  std::string next;
  std::string status;
};

Page List(RunningService& service, uint32_t size, const std::string& token = "",
          const std::string& address = "") {
  v1::ListMappingsRequest request;
  request.set_page_size(size);
  request.set_page_token(token);
  request.set_public_address(address);
  grpc::ClientContext context;
  v1::ListMappingsResponse response;
  Page page;
  page.status =
      WordsOf(service.stub->ListMappings(&context, request, &response));
  for (const v1::MappingState& mapping : response.mappings()) {
    page.listeners +=
        record_proto::FromProto(mapping.mapping().listener())->ToString() +
        "; ";
  }
  page.next = response.next_page_token();
  return page;
}

void SetMappings(RunningService& service,
                 const std::vector<protocol::Listener>& listeners) {
  service.OnLoop([&] {
    std::vector<MappingStatus> mappings;
    for (const protocol::Listener& listener : listeners) {
      mappings.push_back({.mapping = {listener, "g1"}, .connections = 5});
    }
    service.api.mappings = std::move(mappings);
  });
}

// A call whose messages are given as bytes: the test needs no generated code
// of gRPC's own services.
std::string CallWithBytes(const std::shared_ptr<grpc::Channel>& channel,
                          const std::string& method,
                          const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(10));
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (!wait()) return "no call";
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  if (!wait()) return "not written";
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  std::string bytes;
  if (wait()) {
    std::vector<grpc::Slice> slices;
    if (!response.Dump(&slices).ok()) return "no bytes";
    for (const grpc::Slice& part : slices) {
      bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  return status.ok() ? bytes : WordsOf(status);
}

TEST_CASE("edge_service: Register carries the uplink and tells the version",
          "[edge_service]") {
  RunningService service;
  v1::RegisterRequest request;
  request.mutable_epoch()->set_cluster_uid("7a1c");
  request.mutable_epoch()->set_number(3);
  *request.mutable_uplink() = record_proto::ToProto(SampleState().uplinks[0]);
  request.set_edge("paris");
  v1::RegisterResponse response;
  grpc::ClientContext context;
  CHECK(WordsOf(service.stub->Register(&context, request, &response)) == "OK");
  CHECK(response.version() == kVersion);
  const auto calls = service.OnLoop([&] { return service.api.registered; });
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].uplink == SampleState().uplinks[0]);
  CHECK(calls[0].epoch == Epoch{"7a1c", 3});
  CHECK(calls[0].edge == "paris");
}

TEST_CASE("edge_service: a refused Register keeps the edge's code and words",
          "[edge_service]") {
  RunningService service;
  service.OnLoop([&] {
    service.api.register_answer = FailedPrecondition("belongs to x");
  });
  v1::RegisterRequest request;
  v1::RegisterResponse response;
  {
    grpc::ClientContext context;
    CHECK(WordsOf(service.stub->Register(&context, request, &response)) ==
          "INVALID_ARGUMENT: uplink name: is empty");
  }
  *request.mutable_uplink() = record_proto::ToProto(SampleState().uplinks[0]);
  grpc::ClientContext context;
  CHECK(WordsOf(service.stub->Register(&context, request, &response)) ==
        "FAILED_PRECONDITION: belongs to x");
}

TEST_CASE("edge_service: GetState is the edge's status", "[edge_service]") {
  RunningService service;
  service.OnLoop([&] {
    service.api.status.enrolled = true;
    service.api.status.edge = "paris";
    service.api.status.epoch = Epoch{"7a1c", 3};
    service.api.status.mapping_count = 60'000;
  });
  v1::GetStateResponse state;
  grpc::ClientContext context;
  REQUIRE(WordsOf(service.stub->GetState(&context, {}, &state)) == "OK");
  CHECK(state.enrolment().edge() == "paris");
  CHECK(state.epoch().number() == 3);
  CHECK(state.mapping_count() == 60'000);
}

TEST_CASE("edge_service: mappings come in pages", "[edge_service]") {
  RunningService service;
  SetMappings(service, {Tcp(80), Tcp(443), Tcp(1000, 1999), Udp(53),
                        At("203.0.113.2", Protocol::kTcp, 80)});
  const std::string all =
      "203.0.113.1 tcp/80; 203.0.113.1 tcp/443; 203.0.113.1 tcp/1000-1999; "
      "203.0.113.1 udp/53; 203.0.113.2 tcp/80; ";
  for (uint32_t size = 0; size <= 6; ++size) {
    std::string listed;
    Page page;
    uint32_t pages = 0;
    do {
      page = List(service, size, page.next);
      REQUIRE(page.status == "OK");
      listed += page.listeners;
      ++pages;
    } while (!page.next.empty());
    CHECK(listed == all);
    CHECK(pages == (size == 0 ? 1u : (5 + size - 1) / size));
  }
}

TEST_CASE("edge_service: pages go on behind a mapping that has gone",
          "[edge_service]") {
  RunningService service;
  SetMappings(service, {Tcp(80), Tcp(443), Tcp(8080)});
  const Page first = List(service, 2);
  CHECK(first.listeners == "203.0.113.1 tcp/80; 203.0.113.1 tcp/443; ");
  SetMappings(service, {Tcp(80), Tcp(8080)});
  CHECK(List(service, 2, first.next).listeners == "203.0.113.1 tcp/8080; ");
  SetMappings(service, {});
  const Page last = List(service, 2, first.next);
  CHECK(last.status == "OK");
  CHECK(last.listeners == "");
}

TEST_CASE("edge_service: one public address is listed alone",
          "[edge_service]") {
  RunningService service;
  SetMappings(service, {Tcp(80), At("203.0.113.2", Protocol::kTcp, 80),
                        At("203.0.113.2", Protocol::kTcp, 81),
                        At("2001:db8::1", Protocol::kTcp, 80)});
  const Page first = List(service, 1, "", "203.0.113.2");
  CHECK(first.listeners == "203.0.113.2 tcp/80; ");
  const Page second = List(service, 1, first.next, "203.0.113.2");
  CHECK(second.listeners == "203.0.113.2 tcp/81; ");
  CHECK(second.next == "");
  CHECK(List(service, 0, "", "2001:DB8:0::1").listeners ==
        "2001:db8::1 tcp/80; ");
  CHECK(List(service, 0, "", "203.0.113.9").listeners == "");
}

TEST_CASE("edge_service: a page is at most 10,000, by default 1,000",
          "[edge_service]") {
  RunningService service;
  std::vector<protocol::Listener> listeners;
  for (uint16_t port = 1; port <= 12'000; ++port) {
    listeners.push_back(Tcp(port));
  }
  SetMappings(service, listeners);
  CHECK(List(service, 0).next == "203.0.113.1 tcp/1000");
  CHECK(List(service, 10'000).next == "203.0.113.1 tcp/10000");
  CHECK(List(service, 4'000'000'000).next == "203.0.113.1 tcp/10000");
}

TEST_CASE("edge_service: a wrong token or address is named", "[edge_service]") {
  RunningService service;
  SetMappings(service, {Tcp(80)});
  for (const char* token :
       {"x", " ", "203.0.113.1 tcp/0", "203.0.113.1 tcp/70000",
        "203.0.113.1 sctp/80", "203.0.113.1 tcp/80-79", "203.0.113.1 tcp/80-",
        "203.0.113.1/tcp/80", "tcp/80 203.0.113.1", "203.0.113.1 tcp/080"}) {
    CHECK(List(service, 0, token).status ==
          fmt::format("INVALID_ARGUMENT: page_token: \"{}\" is none that this "
                      "edge gave",
                      token));
  }
  CHECK(List(service, 0, "", "foo").status ==
        "INVALID_ARGUMENT: public_address: \"foo\" is not an IP address");
}

TEST_CASE("edge_service: mappings that cannot be read are an error",
          "[edge_service]") {
  RunningService service;
  service.OnLoop([&] { service.api.mappings = Unavailable("no netlink"); });
  CHECK(List(service, 0).status == "UNAVAILABLE: no netlink");
}

TEST_CASE("edge_service: health and reflection answer", "[edge_service]") {
  RunningService service;
  // HealthCheckResponse.status (field 1) is SERVING (1).
  CHECK(CallWithBytes(service.channel, "/grpc.health.v1.Health/Check", "") ==
        "\x08\x01");
  // ServerReflectionRequest.list_services (field 7).
  const std::string services = CallWithBytes(
      service.channel,
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      std::string("\x3a\x00", 2));
  CHECK_THAT(services, Catch::Contains("edged.v1.EdgeService") &&
                           Catch::Contains("grpc.health.v1.Health"));
}

TEST_CASE("reflection: files come with what they import, the rest by name",
          "[reflection]") {
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  const auto files = [](const std::string& symbol) {
    Request request;
    request.set_file_containing_symbol(symbol);
    std::string names;
    const auto response = Reflect(request);
    for (const std::string& bytes :
         response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      REQUIRE(file.ParseFromString(bytes));
      names += file.name() + " ";
    }
    return names + response.error_response().error_message();
  };
  CHECK_THAT(files("edged.v1.EdgeService"),
             Catch::EndsWith("edged/v1/edge.proto "));
  CHECK(files("grpc.health.v1.Health.Check") == "grpc/health/v1/health.proto ");
  CHECK(files("edged.v1.Nothing") == "there is no edged.v1.Nothing");
  CHECK(Reflect(Request()).error_response().error_message() ==
        "nothing was asked");
  Request extension;
  extension.set_all_extension_numbers_of_type("edged.v1.Epoch");
  CHECK(Reflect(extension).error_response().error_code() ==
        grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("api_server: only the owner may use the socket", "[api_server]") {
  RunningService service;
  struct stat file;
  REQUIRE(stat(service.socket.c_str(), &file) == 0);
  CHECK(S_ISSOCK(file.st_mode));
  CHECK((file.st_mode & 0777) == 0600);
}

TEST_CASE("api_server: a stale socket is replaced", "[api_server]") {
  RunningService service;
  const std::string path = service.folder / "stale.sock";
  const UniqueFd stale(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(bind(stale.get(), reinterpret_cast<sockaddr*>(&address),
               sizeof address) == 0);
  const auto server =
      ApiServer::Start("unix:" + path, *service.loop, service.api);
  REQUIRE(server.status() == absl::OkStatus());
  CHECK(StateAsJson(path).ok());
}

TEST_CASE("api_server: an address that cannot be had is named",
          "[api_server]") {
  RunningService service;
  const std::string address = "unix:" + (service.folder / "not/there.sock");
  const absl::Status status =
      ApiServer::Start(address, *service.loop, service.api).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status) ==
        "cannot listen on " + address + ": bind: No such file or directory");
}

TEST_CASE("local_client: prints the state as JSON and as a table",
          "[local_client]") {
  RunningService service;
  service.OnLoop([&] { service.api.status.edge = "paris"; });
  const auto json = StateAsJson(service.socket);
  REQUIRE(json.status() == absl::OkStatus());
  CHECK_THAT(*json, Catch::Contains("\"edge\": \"paris\""));
  const auto table = StateAsTable(service.socket);
  REQUIRE(table.status() == absl::OkStatus());
  CHECK_THAT(*table, Catch::Contains("not enrolled"));
}

TEST_CASE("local_client: says when no edged answers", "[local_client]") {
  const TemporaryFolder folder;
  const std::string socket = folder / "edged.sock";
  const absl::Status status = StateAsJson(socket).status();
  CHECK(absl::IsUnavailable(status));
  CHECK_THAT(std::string(Message(status)),
             Catch::StartsWith("no edged answers on " + socket));
}

// How many of `count` calls at once, while the loop is busy, are refused; all
// others must succeed.
template <typename Call>
int RefusedOf(RunningService& service, int count, int expected, Call call) {
  // One connection has fewer streams; the loop must accept them first.
  std::vector<std::unique_ptr<v1::EdgeService::Stub>> stubs;
  for (int i = 0; i < count; ++i) {
    const auto channel = service.NewChannel();
    REQUIRE(channel->WaitForConnected(std::chrono::system_clock::now() +
                                      std::chrono::seconds(10)));
    stubs.push_back(v1::EdgeService::NewStub(channel));
  }
  std::latch busy(1);
  service.loop->Post([&busy] { busy.wait(); });
  std::atomic<int> refused = 0;
  std::atomic<int> served = 0;
  std::vector<std::thread> callers;
  for (const auto& stub : stubs) {
    callers.emplace_back([&] {
      const grpc::StatusCode code = call(*stub);
      refused += code == grpc::StatusCode::RESOURCE_EXHAUSTED ? 1 : 0;
      served += code == grpc::StatusCode::OK ? 1 : 0;
    });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (refused < expected && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  busy.count_down();
  for (std::thread& caller : callers) caller.join();
  CHECK(served == count - refused);
  return refused;
}

TEST_CASE("service: of calls without end only some wait for the loop",
          "[service]") {
  RunningService service;
  const auto get_state = [](v1::EdgeService::Stub& stub) {
    grpc::ClientContext context;
    v1::GetStateResponse response;
    return stub.GetState(&context, {}, &response).error_code();
  };
  const auto list = [](v1::EdgeService::Stub& stub) {
    grpc::ClientContext context;
    v1::ListMappingsResponse response;
    return stub.ListMappings(&context, {}, &response).error_code();
  };
  CHECK(RefusedOf(service, 40, 8, get_state) == 8);
  CHECK(RefusedOf(service, 11, 3, list) == 3);
  // Whoever was answered has made room.
  CHECK(get_state(*service.stub) == grpc::StatusCode::OK);
  CHECK(list(*service.stub) == grpc::StatusCode::OK);
}

}  // namespace
}  // namespace edged::edge
