// What the agent reads that others may have written: an edge's answers, and
// the files of its own state folder.

#include "clusteragent/edge/edge_proto.h"
#include "clusteragent/source/state_json.h"
#include "common/status.h"
#include "edged/v1/edge.pb.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

bool TryAnswer(Input input) {
  v1::SyncResponse response;
  if (!response.ParseFromArray(input.data(), static_cast<int>(input.size()))) {
    return false;
  }
  switch (response.message_case()) {
    case v1::SyncResponse::kWelcome:
      return agent::FromProto(response.welcome()).ok();
    case v1::SyncResponse::kResult:
      return agent::FromProto(response.result()).ok();
    case v1::SyncResponse::kReport:
      return agent::FromProto(response.report()).ok();
    case v1::SyncResponse::kKey:
      return agent::FromProto(response.key()).ok();
    case v1::SyncResponse::MESSAGE_NOT_SET:
      break;
  }
  return false;
}

bool TryEvent(Input input) {
  v1::WatchEventsResponse event;
  return event.ParseFromArray(input.data(), static_cast<int>(input.size())) &&
         agent::FromProto(event).has_value();
}

bool TryRecords(std::string_view text) {
  const auto records = agent::RecordsFromJson(text);
  if (!records.ok()) return false;
  const auto again = agent::RecordsFromJson(agent::ToJson(*records));
  Require(again.ok() && *again == *records, "records are read as written");
  return true;
}

bool TryStatus(std::string_view text) {
  const auto status = agent::StatusFromJson(text);
  if (!status.ok()) return false;
  const auto again = agent::StatusFromJson(agent::ToJson(*status));
  Require(again.ok() && *again == *status, "a status is read as written");
  return true;
}

void Fill(v1::RefusedMapping& refused) {
  refused.mutable_listener()->set_public_address("203.0.113.1");
  refused.mutable_listener()->set_protocol(v1::PROTOCOL_TCP);
  refused.mutable_listener()->set_first_port(22);
  refused.set_reason("ReservedPort");
  refused.set_message("203.0.113.1 tcp/22 takes port 22/tcp");
}

void Fill(v1::Report& report) {
  v1::UplinkLife& life = *report.add_uplinks();
  life.set_name("a");
  life.set_alive(true);
  life.set_applied_digest(std::string(32, 'd'));
  life.mutable_last_handshake()->set_seconds(1'700'000'000);
  Fill(*report.add_not_programmed());
  report.set_digest(std::string(32, 'e'));
  report.add_warnings("StateNotDurable: no space");
  report.set_mtu(1420);
  report.add_addresses()->set_address("203.0.113.1");
}

std::string Result() {
  v1::SyncResponse response;
  v1::Result& result = *response.mutable_result();
  result.set_version(3);
  result.set_ack(true);
  result.set_digest(std::string(32, 'd'));
  Fill(*result.add_refused());
  result.mutable_apply_time()->set_nanos(300'000);
  return response.SerializeAsString();
}

std::string Welcome() {
  v1::SyncResponse response;
  response.mutable_welcome()->add_reserved_ports("22/tcp");
  Fill(*response.mutable_welcome()->mutable_report());
  return response.SerializeAsString();
}

std::string Report() {
  v1::SyncResponse response;
  Fill(*response.mutable_report());
  return response.SerializeAsString();
}

std::string Key() {
  v1::SyncResponse response;
  response.mutable_key()->set_phase(v1::EdgeKey::PHASE_PROPOSED);
  response.mutable_key()->set_public_key(std::string(43, 'A') + "=");
  response.mutable_key()->set_key_in_use(std::string(43, 'E') + "=");
  return response.SerializeAsString();
}

std::string Event() {
  v1::WatchEventsResponse event;
  event.mutable_at()->set_seconds(1'717'243'200);
  v1::Drift& drift = *event.mutable_drift();
  drift.set_part(v1::DRIFT_PART_TABLE);
  drift.set_what("1 element of ports4 deleted");
  drift.mutable_by()->set_process("nft");
  drift.mutable_took()->set_nanos(1'000);
  return event.SerializeAsString();
}

agent::Records SomeRecords() {
  agent::Records records;
  records.edges["fra1"].network = *IpPrefix::Parse("10.200.0.0/22");
  return records;
}

}  // namespace

bool Try(Input input) {
  const bool answer = TryAnswer(input);
  const bool event = TryEvent(input);
  const bool records = TryRecords(AsText(input));
  const bool status = TryStatus(AsText(input));
  return answer || event || records || status;
}

std::vector<std::string> Seeds() {
  agent::ObjectStatus status;
  status.object = {agent::Kind::kPortBinding, "default", "web"};
  return {Result(),
          Welcome(),
          Report(),
          Key(),
          Event(),
          agent::ToJson(SomeRecords()),
          agent::ToJson(status)};
}

}  // namespace edged::fuzz
