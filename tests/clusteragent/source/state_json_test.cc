#include "clusteragent/source/state_json.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/status.h"

namespace edged::agent {
namespace {

Records SomeRecords() {
  Records records;
  EdgeRecord& record = records.edges["vps"];
  record.uid = "5e6c";
  record.network = IpPrefix::Parse("10.200.0.0/22").value();
  record.listen_port = 51820;
  record.enrolled = true;
  record.public_indexes.taken = {{"203.0.113.1", 2}};
  record.public_indexes.resting = {3, 1};
  record.blocks.taken = {{"home", 1}};
  records.numbers.taken = {{"vps", 1}};
  records.numbers.resting = {2};
  return records;
}

TEST_CASE("state_json: records of an edge with IPv6 read as they were written",
          "[state_json]") {
  Records records = SomeRecords();
  EdgeRecord& record = records.edges["vps"];
  record.network6 = IpPrefix::Parse("fd00:ed::/64").value();
  record.public_indexes6.taken = {{"2001:db8::1", 1}};
  CHECK(RecordsFromJson(ToJson(records)).value() == records);
}

TEST_CASE("state_json: records read as they were written", "[state_json]") {
  const std::string text = ToJson(SomeRecords());
  CHECK(text == R"({
  "edges": {
    "vps": {
      "blocks": {
        "resting": [],
        "taken": {
          "home": 1
        }
      },
      "enrolled": true,
      "listenPort": 51820,
      "network": "10.200.0.0/22",
      "publicIndexes": {
        "resting": [
          3,
          1
        ],
        "taken": {
          "203.0.113.1": 2
        }
      },
      "uid": "5e6c"
    }
  },
  "numbers": {
    "resting": [
      2
    ],
    "taken": {
      "vps": 1
    }
  },
  "version": 1
}
)");
  const auto read = RecordsFromJson(text);
  REQUIRE(read.ok());
  CHECK(*read == SomeRecords());
  CHECK(RecordsFromJson(ToJson(Records())).value() == Records());
}

TEST_CASE("state_json: damaged records are said to be", "[state_json]") {
  const std::string text = ToJson(SomeRecords());
  const std::string body = text.substr(0, text.find_last_of('}'));
  for (size_t length = 0; length < body.size(); ++length) {
    const auto cut = RecordsFromJson(body.substr(0, length));
    REQUIRE(cut.status().code() == absl::StatusCode::kDataLoss);
  }
  const auto with = [&text](const std::string& what, const std::string& by) {
    std::string changed = text;
    changed.replace(changed.find(what), what.size(), by);
    return std::string(Message(RecordsFromJson(changed).status()));
  };
  CHECK(with("\"version\": 1", "\"version\": 2") ==
        "records: records have version 2, not 1");
  CHECK(with("10.200.0.0/22", "10.200.0.1/22") ==
        "records: \"10.200.0.1/22\" has host bits set: 10.200.0.0/22 was "
        "meant?");
  CHECK(with("51820", "\"x\"").starts_with("records: "));
  CHECK(with("\"blocks\"", "\"bricks\"").starts_with("records: "));
}

TEST_CASE("state_json: a status reads as it was written", "[state_json]") {
  const ObjectStatus status{
      .object = {Kind::kPortBinding, "default", "web"},
      .observed_generation = 3,
      .conditions = {{"Ready", ConditionStatus::kFalse, "InvalidPort", "no"},
                     {"Programmed", ConditionStatus::kTrue, "Programmed", ""}},
      .bindings = {{"https",
                    {"vps 203.0.113.1 tcp/443"},
                    {"Ready", ConditionStatus::kUnknown, "", ""}}}};
  const auto read = StatusFromJson(ToJson(status));
  REQUIRE(read.ok());
  CHECK(*read == status);
  const ObjectStatus edge{.object = {Kind::kEdgeNode, "", "vps"},
                          .values = {{"network", "10.200.0.0/22"}}};
  CHECK(StatusFromJson(ToJson(edge)).value() == edge);
  CHECK(StatusFromJson("[]").status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("state_json: text that is not UTF-8 does not throw", "[state_json]") {
  const ObjectStatus status{
      .object = {Kind::kEdgeNode, "", "vps"},
      .conditions = {{"Ready", ConditionStatus::kFalse, "X", "\xff"}}};
  CHECK(StatusFromJson(ToJson(status)).value().conditions[0].message ==
        "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace edged::agent
