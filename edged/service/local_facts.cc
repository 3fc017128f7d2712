#include "edged/service/local_facts.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "common/status.h"
#include "common/unique_fd.h"
#include "edged/service/local_call.h"

namespace edged::edge {
namespace {

constexpr uint32_t kPage = 10'000;

// gRPC would take seconds to say that nobody listens.
Answer WhoListens(const std::string& path) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!probe || path.size() >= sizeof address.sun_path) {
    return Answer::kUnknown;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof address) == 0) {
    return Answer::kYes;
  }
  return errno == ENOENT || errno == ECONNREFUSED ? Answer::kNo
                                                  : Answer::kUnknown;
}

Answer AnswerOf(bool yes) { return yes ? Answer::kYes : Answer::kNo; }

template <typename Value>
std::optional<Value> Parsed(const std::string& text) {
  auto value = Value::Parse(text);
  return value.ok() ? std::optional<Value>(*value) : std::nullopt;
}

std::optional<SystemTime> TimeOf(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return std::nullopt;
  return SystemTime(std::chrono::seconds(time.seconds()));
}

UplinkFacts FactsOf(const v1::UplinkState& uplink) {
  return {.name = uplink.name(),
          .address = Parsed<IpAddress>(uplink.address()),
          .endpoint = Parsed<SocketAddress>(uplink.endpoint()),
          .alive = AnswerOf(uplink.alive()),
          .draining = uplink.draining(),
          .last_handshake = TimeOf(uplink.last_handshake()),
          .last_heartbeat = TimeOf(uplink.last_heartbeat())};
}

void Take(const v1::GetStateResponse& state, DoctorFacts& facts) {
  facts.enrolled = AnswerOf(state.enrolment().enrolled());
  facts.warnings.assign(state.warnings().begin(), state.warnings().end());
  for (const auto& refused : state.refused()) {
    facts.refused.push_back(refused.message());
  }
  if (facts.enrolled != Answer::kYes) return;
  facts.enrolment.edge = state.enrolment().edge();
  facts.enrolment.contacted = AnswerOf(state.enrolment().contacted());
  facts.enrolment.listen_port =
      static_cast<uint16_t>(state.tunnel().listen_port());
  facts.enrolment.network = Parsed<IpPrefix>(state.tunnel().network());
  facts.enrolment.network6 = Parsed<IpPrefix>(state.tunnel().network6());
  if (!state.tunnel().device().empty()) {
    facts.device = state.tunnel().device();
  }
  facts.uplinks.emplace();
  for (const auto& uplink : state.uplinks()) {
    facts.uplinks->push_back(FactsOf(uplink));
  }
  facts.addresses.clear();
  for (const auto& resolved : state.addresses()) {
    const auto address = Parsed<IpAddress>(resolved.address());
    if (!address) continue;
    facts.addresses.push_back({*address,
                               Parsed<IpAddress>(resolved.nic_address()),
                               resolved.interface(), resolved.error()});
  }
}

std::optional<MappedPorts> MappedBy(const v1::MappingState& state) {
  const v1::Listener& listener = state.mapping().listener();
  const auto address = Parsed<IpAddress>(listener.public_address());
  if (!address) return std::nullopt;
  const uint32_t last = std::max(listener.last_port(), listener.first_port());
  return MappedPorts{
      .public_address = *address,
      .nic_address = Parsed<IpAddress>(state.nic_address()).value_or(*address),
      .protocol = listener.protocol() == v1::PROTOCOL_UDP ? Protocol::kUdp
                                                          : Protocol::kTcp,
      .ports = {static_cast<uint16_t>(listener.first_port()),
                static_cast<uint16_t>(last)}};
}

absl::StatusOr<std::vector<MappedPorts>> AllMappings(LocalCall& call) {
  std::vector<MappedPorts> mappings;
  v1::ListMappingsRequest request;
  request.set_page_size(kPage);
  do {
    ASSIGN_OR_RETURN(const v1::ListMappingsResponse page,
                     call.ListMappings(request));
    for (const v1::MappingState& state : page.mappings()) {
      if (const auto mapped = MappedBy(state)) mappings.push_back(*mapped);
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  std::ranges::sort(mappings);
  return mappings;
}

}  // namespace

void AskEdged(const std::string& socket, DoctorFacts& facts) {
  facts.running = WhoListens(socket);
  if (facts.running == Answer::kUnknown) {
    facts.unseen.push_back(fmt::format("edged's own state ({})", socket));
  }
  if (facts.running != Answer::kYes) return;
  LocalCall call(socket);
  const auto state = call.GetState();
  if (!state.ok()) {
    facts.unseen.push_back(std::string(Message(state.status())));
    return;
  }
  Take(*state, facts);
  auto mappings = AllMappings(call);
  if (mappings.ok()) {
    facts.mappings = *std::move(mappings);
  } else {
    facts.unseen.push_back(std::string(Message(mappings.status())));
  }
}

}  // namespace edged::edge
