#include "clusteragent/source/memory_json.h"

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

using nlohmann::json;

EdgeMemory Full() {
  EdgeMemory memory;
  EdgeRecord& record = memory.record.emplace();
  record.uid = "u-1";
  record.network = *IpPrefix::Parse("10.200.0.0/22");
  record.network6 = *IpPrefix::Parse("fd00:1::/64");
  record.listen_port = 51820;
  record.enrolled = true;
  record.public_indexes.Take("203.0.113.1", 15);
  record.blocks.Take("home", 63);
  memory.number = 7;
  memory.enrolment.registered_with = PrivateKey::Generate().Public();
  memory.enrolment.edge.key = PrivateKey::Generate().Public();
  memory.enrolment.edge.other = PrivateKey::Generate().Public();
  return memory;
}

TEST_CASE("memory_json: what is written is read", "[memory_json]") {
  EdgeMemory memory = Full();
  json status = MemoryJson(memory);
  CHECK_FALSE(status.contains("token"));
  memory.token = IssuedToken{
      .id = "t", .expires = {}, .edge_key = PrivateKey::Generate().Public()};
  status["token"] = TokenJson(*memory.token);
  CHECK(ReadMemory(status) == memory);
  CHECK(ReadMemory(json::parse(status.dump())) == memory);
  CHECK(MemoryJson(EdgeMemory()) == json::object());
}

TEST_CASE("memory_json: what others made of it reads as nothing",
          "[memory_json]") {
  const json whole = MemoryJson(Full());
  for (const auto& [name, value] : whole["allocation"].items()) {
    for (const json& wrong : {json(), json("x"), json(-1), json::array()}) {
      json status = whole;
      status["allocation"][name] = wrong;
      ReadMemory(status);
    }
  }
  json status = whole;
  status["allocation"]["network"] = "10.0.0.0/40";
  CHECK_FALSE(ReadMemory(status).record);
  status["keys"] = 5;
  CHECK(ReadMemory(status).enrolment == EdgeEnrolment());
  CHECK(ReadMemory("text") == EdgeMemory());
}

}  // namespace
}  // namespace edged::agent
