#include "clusteragent/controller/event_recorder.h"

#include <catch2/catch.hpp>

namespace edged::agent {
namespace {

using nlohmann::json;

json Before(const char* status, const char* reason) {
  return {{"conditions",
           {{{"type", "Ready"}, {"status", status}, {"reason", reason}}}}};
}

ObjectStatus Status(Kind kind, ConditionStatus ready, const char* reason) {
  ObjectStatus status{.object = {kind, "", "x"}};
  status.conditions = {{"Ready", ready, reason, "a sentence"}};
  return status;
}

std::string NewsText(const json& before, const ObjectStatus& status) {
  std::string text;
  for (const Happening& one : NewsOf(before, status)) {
    text += (one.warning ? "!" : "") + one.reason + ";";
  }
  return text;
}

TEST_CASE(
    "event_recorder: what changed for good is news, what is under way not",
    "[event_recorder]") {
  const auto yes = ConditionStatus::kTrue;
  const auto no = ConditionStatus::kFalse;
  const Kind object = Kind::kPortBinding;
  CHECK(NewsText(json(), Status(object, yes, "Ready")) == "Ready;");
  CHECK(
      NewsText(Before("True", "Ready"), Status(object, yes, "Ready")).empty());
  CHECK(NewsText(json(), Status(object, no, "NotProgrammed")).empty());
  CHECK(NewsText(Before("True", "Ready"),
                 Status(object, no, "ListenerConflict")) ==
        "!ListenerConflict;");
  CHECK(NewsText(Before("False", "ListenerConflict"),
                 Status(object, no, "ListenerConflict"))
            .empty());
}

TEST_CASE("event_recorder: an edge that goes is told of once, at itself",
          "[event_recorder]") {
  const auto no = ConditionStatus::kFalse;
  const json served = Before("True", "Ready");
  CHECK(NewsText(served, Status(Kind::kEdgeNode, no, "TunnelDown")) ==
        "!TunnelDown;");
  CHECK(NewsText(served, Status(Kind::kPortBinding, no, "TunnelDown")).empty());
}

}  // namespace
}  // namespace edged::agent
