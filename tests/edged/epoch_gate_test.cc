#include "edged/core/epoch_gate.h"

#include <catch2/catch.hpp>

#include "common/protocol/epoch_refusal.h"
#include "common/status.h"

namespace edged::edge {
namespace {

std::string Decision(const EpochGate& gate, const Epoch& epoch) {
  const absl::Status status = gate.Check(epoch);
  if (status.ok()) return "OK";
  return absl::StatusCodeToString(status.code()) + ": " +
         std::string(Message(status));
}

TEST_CASE("epoch_gate: who comes first becomes the owner", "[epoch_gate]") {
  EpochGate gate;
  CHECK(!gate.seen());
  CHECK(Decision(gate, {"x", 0}) == "OK");
  CHECK(gate.Accept({"x", 3}));
  CHECK(gate.seen() == Epoch{"x", 3});
  CHECK(Decision(gate, {"y", 9}) ==
        "FAILED_PRECONDITION: this edge belongs to cluster x, not to y; `edged "
        "reset --owner` on the edge frees it");
}

TEST_CASE("epoch_gate: the enrolled cluster is the owner before any contact",
          "[epoch_gate]") {
  const EpochGate gate("x", std::nullopt);
  CHECK(Decision(gate, {"x", 1}) == "OK");
  CHECK(Decision(gate, {"y", 1}) ==
        "FAILED_PRECONDITION: this edge belongs to cluster x, not to y; `edged "
        "reset --owner` on the edge frees it");
}

TEST_CASE("epoch_gate: a cluster without a name is nobody", "[epoch_gate]") {
  CHECK(Decision(EpochGate(), {"", 1}) ==
        "INVALID_ARGUMENT: epoch cluster_uid: is empty");
  CHECK(Decision(EpochGate("x", Epoch{"x", 1}), {"", 2}) ==
        "INVALID_ARGUMENT: epoch cluster_uid: is empty");
}

TEST_CASE("epoch_gate: an older term is refused, the same and a newer pass",
          "[epoch_gate]") {
  const EpochGate gate("x", Epoch{"x", 7});
  CHECK(Decision(gate, {"x", 3}) ==
        "FAILED_PRECONDITION: epoch 3 is older than 7, which this edge has "
        "seen; another agent of the cluster leads, or its count began anew");
  CHECK(Decision(gate, {"x", 7}) == "OK");
  CHECK(Decision(gate, {"x", 8}) == "OK");
  // Nobody can count on from the end of the numbers.
  CHECK(Decision(gate, {"x", protocol::kHighestEpoch}) == "OK");
  CHECK(Decision(gate, {"x", protocol::kHighestEpoch + 1}) ==
        "INVALID_ARGUMENT: epoch number: 1073741825 is above 1073741824, the "
        "highest there is");
  // Who has seen the highest takes it again, and none before it.
  const EpochGate end("x", Epoch{"x", protocol::kHighestEpoch});
  CHECK(Decision(end, {"x", protocol::kHighestEpoch}) == "OK");
  CHECK(Decision(end, {"x", 8}).starts_with("FAILED_PRECONDITION: epoch 8 "));
}

TEST_CASE("epoch_gate: only a new epoch must be made durable", "[epoch_gate]") {
  EpochGate gate("x", std::nullopt);
  CHECK(gate.Accept({"x", 7}));
  CHECK(!gate.Accept({"x", 7}));
  CHECK(gate.Accept({"x", 8}));
  CHECK(gate.seen() == Epoch{"x", 8});
}

TEST_CASE("epoch_gate: a forgotten epoch lets its cluster count anew",
          "[epoch_gate]") {
  const EpochGate gate("x", std::nullopt);  // what Edge::ForgetEpoch() makes
  CHECK(!gate.seen());
  CHECK(Decision(gate, {"x", 1}) == "OK");
  CHECK(Decision(gate, {"y", 9}) ==
        "FAILED_PRECONDITION: this edge belongs to cluster x, not to y; `edged "
        "reset --owner` on the edge frees it");
}

TEST_CASE("epoch_gate: a refusal says which term was seen", "[epoch_gate]") {
  CHECK(protocol::SeenEpoch(protocol::OlderEpochText(3, 7)) == 7);
  CHECK(protocol::SeenEpoch("edge a: " + protocol::OlderEpochText(0, 90)) ==
        90);
  for (const char* other : {"", "epoch 3 is older than ", " is older than 7",
                            "epoch 3 is older than 99999999999999999999",
                            "this edge belongs to cluster a, not to b"}) {
    CHECK_FALSE(protocol::SeenEpoch(other));
  }
}

}  // namespace
}  // namespace edged::edge
