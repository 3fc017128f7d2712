#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "edged/core/edge_api.h"
#include "edged/core/event_hub.h"

namespace edged::edge {

// An edge without a kernel: it accepts every change, and keeps to the contract
// of streams. Belongs to the loop thread, like the real one.
class FakeEdgeApi final : public EdgeApi {
 public:
  absl::Status Register(const RegisterCall& call) override {
    registered.push_back(call);
    return register_answer;
  }

  absl::StatusOr<Welcome> Open(const Hello& hello,
                               SyncStream& stream) override {
    if (!open_answer.ok()) return open_answer;
    if (current) {
      SyncStream* before = std::exchange(current, nullptr);
      borrowed.erase(before);
      before->End(absl::AbortedError("a newer stream took over"));
    }
    hellos.push_back(hello);
    borrowed.insert(&stream);
    current = &stream;
    return Welcome{.reserved_ports = {"22/tcp"}};
  }

  SyncResult Change(SyncStream& stream, ChangeCall call) override {
    SyncResult result;
    result.version =
        std::visit([](const auto& change) { return change.version; }, call);
    if (current != &stream) result.status = absl::AbortedError("not yours");
    changes.push_back(std::move(call));
    return result;
  }

  void Close(SyncStream& stream) override {
    ++closes;
    if (borrowed.erase(&stream) == 0) ++wrong_closes;
    if (current == &stream) current = nullptr;
  }

  void KeyStored(SyncStream& stream, const PublicKey& key) override {
    if (current == &stream) stored_keys.push_back(key);
  }
  absl::StatusOr<Rotation> RotateKey() override { return rotation; }

  EdgeStatus Status() override { return status; }
  absl::StatusOr<std::vector<MappingStatus>> Mappings() override {
    return mappings;
  }

  absl::Status Watch(EventStream& stream, size_t recent) override {
    const absl::Status status = hub.Watch(stream, recent);
    if (status.ok()) ++watchers;
    return status;
  }
  void Unwatch(EventStream& stream) override {
    hub.Unwatch(stream);
    --watchers;
  }

  // What it answers.
  absl::Status register_answer;
  absl::Status open_answer;
  EdgeStatus status;
  absl::StatusOr<std::vector<MappingStatus>> mappings =
      std::vector<MappingStatus>();

  absl::StatusOr<Rotation> rotation = Rotation();
  EventHub hub;

  // What it was asked.
  std::vector<RegisterCall> registered;
  std::vector<Hello> hellos;
  std::vector<ChangeCall> changes;
  std::vector<PublicKey> stored_keys;
  SyncStream* current = nullptr;
  std::set<SyncStream*> borrowed;
  int watchers = 0;
  int closes = 0;
  int wrong_closes = 0;  // of streams that it does not have
};

}  // namespace edged::edge
