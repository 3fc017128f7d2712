#include "clusteragent/source/memory_json.h"

#include <utility>

#include "clusteragent/kube/json_reading.h"
#include "common/status.h"

namespace edged::agent {
namespace {

using kube::Field;
using kube::Text;
using nlohmann::json;

constexpr char kAllocation[] = "allocation";
constexpr char kKeys[] = "keys";
constexpr char kToken[] = "token";

PublicKey ReadKey(const json& value) {
  const auto key = PublicKey::Parse(Text(value));
  return key.ok() ? *key : PublicKey();
}

void ReadAllocation(const json& allocation, EdgeMemory& memory) {
  try {
    auto record = ReadRecord(allocation);
    if (!record.ok()) return;
    memory.record = *std::move(record);
    memory.number = allocation.value("number", 0U);
  } catch (const json::exception&) {
    memory.record.reset();  // not what we wrote: it is given anew
  }
}

}  // namespace

json PoolJson(const IndexPool& pool) {
  return {{"taken", pool.taken}, {"resting", pool.resting}};
}

IndexPool ReadPool(const json& value) {
  IndexPool pool;
  value.at("taken").get_to(pool.taken);
  value.at("resting").get_to(pool.resting);
  return pool;
}

json RecordJson(const EdgeRecord& record) {
  json value = {{"uid", record.uid},
                {"network", record.network.ToString()},
                {"listenPort", record.listen_port},
                {"enrolled", record.enrolled},
                {"publicIndexes", PoolJson(record.public_indexes)},
                {"blocks", PoolJson(record.blocks)}};
  if (!record.network6) return value;
  value["network6"] = record.network6->ToString();
  value["publicIndexes6"] = PoolJson(record.public_indexes6);
  return value;
}

absl::StatusOr<EdgeRecord> ReadRecord(const json& value) {
  EdgeRecord record;
  value.at("uid").get_to(record.uid);
  value.at("listenPort").get_to(record.listen_port);
  value.at("enrolled").get_to(record.enrolled);
  ASSIGN_OR_RETURN(record.network,
                   IpPrefix::Parse(value.at("network").get<std::string>()));
  record.public_indexes = ReadPool(value.at("publicIndexes"));
  if (value.contains("network6")) {
    ASSIGN_OR_RETURN(record.network6,
                     IpPrefix::Parse(value.at("network6").get<std::string>()));
    record.public_indexes6 = ReadPool(value.at("publicIndexes6"));
  }
  record.blocks = ReadPool(value.at("blocks"));
  return record;
}

EdgeMemory ReadMemory(const json& status) {
  EdgeMemory memory;
  if (const json& allocation = Field(status, kAllocation);
      allocation.is_object()) {
    ReadAllocation(allocation, memory);
  }
  const json& keys = Field(status, kKeys);
  memory.enrolment.registered_with = ReadKey(Field(keys, "registeredWith"));
  memory.enrolment.edge.key = ReadKey(Field(keys, "current"));
  if (const PublicKey other = ReadKey(Field(keys, "other")); !other.is_zero()) {
    memory.enrolment.edge.other = other;
  }
  const json& token = Field(status, kToken);
  if (const PublicKey key = ReadKey(Field(token, "edgePublicKey"));
      !key.is_zero()) {
    memory.token = IssuedToken{
        .id = Text(Field(token, "id")),
        .expires = std::chrono::sys_seconds(
            std::chrono::seconds(kube::Number(Field(token, "expires"), 0))),
        .edge_key = key};
  }
  return memory;
}

json MemoryJson(const EdgeMemory& memory) {
  json status = json::object();
  if (memory.record) {
    status[kAllocation] = RecordJson(*memory.record);
    status[kAllocation]["number"] = memory.number;
  }
  const EdgeEnrolment& enrolment = memory.enrolment;
  if (!enrolment.registered_with.is_zero()) {
    json& keys = status[kKeys];
    keys["registeredWith"] = enrolment.registered_with.ToString();
    keys["current"] = enrolment.edge.key.ToString();
    if (enrolment.edge.other) {
      keys["other"] = enrolment.edge.other->ToString();
    }
  }
  return status;
}

json TokenJson(const IssuedToken& token) {
  return {{"id", token.id},
          {"expires", token.expires.time_since_epoch().count()},
          {"edgePublicKey", token.edge_key.ToString()}};
}

bool RemembersTheSame(const json& a, const json& b) {
  for (const char* part : {kAllocation, kKeys, kToken}) {
    if (Field(a, part) != Field(b, part)) return false;
  }
  return true;
}

}  // namespace edged::agent
