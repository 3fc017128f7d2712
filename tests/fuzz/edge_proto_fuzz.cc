// What an agent streams to an edge, from the bytes of its messages to the
// table in the kernel: Hello, snapshots and deltas are decoded, judged,
// compiled and applied to an nf_tables in memory.
//
// The first byte chooses whether this host carries IPv6. Then each message has
// its length in two bytes in front.

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/nftables/diff.h"
#include "common/nftables/print.h"
#include "common/protocol/bytes.h"
#include "common/protocol/digest.h"
#include "common/record_proto/record_proto.h"
#include "common/rpc/parsed_size.h"
#include "common/status.h"
#include "edged/core/ipv6_support.h"
#include "edged/core/nft_compiler.h"
#include "edged/core/nft_delta.h"
#include "edged/core/nft_elements.h"
#include "edged/core/nft_names.h"
#include "edged/core/readback.h"
#include "edged/service/edge_proto.h"
#include "edged/v1/edge.pb.h"
#include "tests/edged/core/sample_edge.h"
#include "tests/fakes/fake_nftables_client.h"
#include "tests/fuzz/target.h"

namespace edged::fuzz {
namespace {

using edge::CompileTable;
using edge::EdgeModel;
using edge::Judgement;
using edge::Refusal;

std::string TextOf(const nftables::Rule& rule) { return nftables::Print(rule); }

// An edge without sockets: does with a change what the daemon does.
class Edge {
 public:
  explicit Edge(bool ipv6) : device_{.ipv6 = {.enabled = ipv6}} {
    facts_.limits.reserved = {{Protocol::kTcp, 22}};
    for (const char* name : {"a", "b", "c"}) {
      facts_.health[name] = edge::Health::kAlive;
    }
    Reconcile();
  }

  // False when it was refused as a whole.
  bool Change(const edge::ChangeCall& call) {
    const auto* snapshot = std::get_if<edge::SnapshotCall>(&call);
    const auto judgement =
        snapshot ? model_.JudgeSnapshot(snapshot->state, facts_.limits)
                 : model_.Judge(std::get<edge::DeltaCall>(call).delta,
                                facts_.limits);
    if (!judgement.ok()) {
      Require(absl::IsInvalidArgument(judgement.status()),
              "what makes no sense is the caller's fault");
      return false;
    }
    for (const Refusal& refusal : judgement->refusals) {
      Require(!refusal.reason.empty() && !refusal.message.empty(),
              "a refusal has a reason and a message");
    }
    Apply(judgement->accepted);
    Check();
    return judgement->refusals.empty();
  }

 private:
  void Apply(const protocol::EdgeDelta& accepted) {
    if (!marks_.Reserve(accepted).ok()) return;
    const bool whole = NeedsWholeTable(model_, accepted);
    if (!whole) {
      const absl::Status applied =
          kernel_.Apply(CompileDelta(model_, marks_, facts_, accepted));
      Require(applied.ok(), Message(applied));
    }
    model_.Commit(accepted);
    marks_.Release(accepted);
    if (whole) Reconcile();
  }

  // Makes the kernel's table what it should be, public addresses being local.
  void Reconcile() {
    facts_.nic_addresses.clear();
    facts_.ipv6 =
        edge::Ipv6Facts(model_.settings(), {.forwarding_everywhere = true},
                        &device_, facts_.mtu);
    for (const auto& address : model_.settings().public_addresses) {
      if (!facts_.OverlayOf(address.address.family())) continue;
      facts_.nic_addresses[address.address] = {address.address, "eth0", 2};
    }
    const absl::Status applied = kernel_.Apply(Missing());
    Require(applied.ok(), Message(applied));
  }

  nftables::Transaction Missing() {
    return nftables::Diff(*kernel_.List(edge::kTable),
                          CompileTable(model_, marks_, facts_), TextOf);
  }

  void Check() {
    const protocol::EdgeState state = model_.ToState();
    Require(model_.digest() == DigestOf(state),
            "the digest that is kept up is that of the state");
    Require(std::ranges::is_sorted(state.mappings) &&
                std::ranges::is_sorted(state.groups) &&
                std::ranges::is_sorted(state.uplinks),
            "a state is sorted");
    const nftables::Transaction missing = Missing();
    Require(missing.empty(),
            "a delta leads to the whole table: " + nftables::Print(missing));
    edge::KernelDigest digest(model_, marks_, facts_);
    digest.Add(*kernel_.List(edge::kTable));
    Require(digest.strangers() == 0, "every element is read back");
    if (Unprogrammable(model_, facts_).empty()) {
      Require(digest.digest() == model_.digest(),
              "what is read back is what was accepted");
    }
    // The same again changes nothing.
    const auto again = model_.JudgeSnapshot(state, facts_.limits);
    Require(again.ok() && again->refusals.empty() && again->accepted.empty(),
            "a state that was accepted is accepted as it is");
  }

  const netlink::Link device_;
  nftables::FakeClient kernel_{TextOf};
  EdgeModel model_;
  edge::GroupMarks marks_;
  edge::HostFacts facts_{.limits = edge::SampleLimits()};
};

// One stream, message by message; false when one was refused.
class Stream {
 public:
  explicit Stream(bool ipv6) : ipv6_(ipv6) {}

  bool Take(const v1::SyncRequest& request) {
    switch (request.message_case()) {
      case v1::SyncRequest::kHello:
        return edge::FromProto(request.hello()).ok();
      case v1::SyncRequest::kSnapshot: {
        const auto last = assembler_.Add(request.snapshot());
        if (!last.ok() || !*last) return last.ok();
        return Change(assembler_.Take());
      }
      case v1::SyncRequest::kDelta: {
        auto change = edge::FromProto(request.delta());
        return change.ok() && Change(*change);
      }
      case v1::SyncRequest::kKeyStored:
        return PublicKey::Parse(request.key_stored().public_key()).ok();
      case v1::SyncRequest::MESSAGE_NOT_SET:
        break;
    }
    return false;
  }

 private:
  bool Change(const edge::DecodedChange& change) {
    // Made only now: most inputs never come so far.
    if (!edge_) edge_.emplace(ipv6_);
    return edge_->Change(change.call) && change.malformed.empty();
  }

  const bool ipv6_;
  std::optional<Edge> edge_;
  edge::SnapshotAssembler assembler_;
};

void Append(const v1::SyncRequest& request, std::string& bytes) {
  const std::string message = request.SerializeAsString();
  protocol::ByteWriter writer(2 + message.size());
  writer.Number16(static_cast<uint16_t>(message.size()));
  bytes += writer.bytes() + message;
}

v1::SyncRequest HelloRequest() {
  v1::SyncRequest request;
  request.mutable_hello()->mutable_epoch()->set_cluster_uid("home");
  request.mutable_hello()->mutable_epoch()->set_number(7);
  request.mutable_hello()->set_digest(std::string(32, 'd'));
  return request;
}

// A public address and its group.
using Place = std::pair<IpAddress, std::string>;

// The sample edge with a mapping and a range, in two chunks.
std::string Snapshot(protocol::EdgeState state, const Place& place) {
  const auto& [first, group] = place;
  state.mappings = {{{first, Protocol::kTcp, {443, 443}}, group},
                    {{first, Protocol::kUdp, {5000, 5999}}, group}};
  std::string bytes;
  Append(HelloRequest(), bytes);
  v1::SyncRequest records;
  records.mutable_snapshot()->set_version(1);
  *records.mutable_snapshot()->mutable_settings() =
      record_proto::ToProto(state.settings);
  for (const auto& uplink : state.uplinks) {
    *records.mutable_snapshot()->add_uplinks() = record_proto::ToProto(uplink);
  }
  for (const auto& group : state.groups) {
    *records.mutable_snapshot()->add_groups() = record_proto::ToProto(group);
  }
  Append(records, bytes);
  v1::SyncRequest mappings;
  mappings.mutable_snapshot()->set_version(1);
  mappings.mutable_snapshot()->set_last(true);
  for (const auto& mapping : state.mappings) {
    *mappings.mutable_snapshot()->add_mappings() =
        record_proto::ToProto(mapping);
  }
  Append(mappings, bytes);
  return bytes;
}

std::string KeyStored() {
  v1::SyncRequest request;
  request.mutable_key_stored()->set_public_key(edge::Key(1).ToString());
  std::string bytes;
  Append(request, bytes);
  return bytes;
}

// One mapping moves, one goes, an uplink leaves a group and the edge.
std::string Delta(const protocol::EdgeState& state, const Place& place) {
  const auto& [first, group_name] = place;
  v1::SyncRequest request;
  v1::Delta& delta = *request.mutable_delta();
  delta.set_base_version(1);
  delta.set_version(2);
  *delta.add_removed_mappings() = record_proto::ToProto(
      protocol::Listener{first, Protocol::kUdp, {5000, 5999}});
  *delta.add_mappings() = record_proto::ToProto(
      protocol::Mapping{{first, Protocol::kTcp, {80, 80}}, group_name});
  delta.add_removed_uplinks("c");
  for (protocol::Group group : state.groups) {
    group.uplinks = {"a", "b"};
    *delta.add_groups() = record_proto::ToProto(group);
  }
  std::string bytes;
  Append(request, bytes);
  return bytes;
}

}  // namespace

bool Try(Input input) {
  protocol::ByteReader reader(input);
  Stream stream((reader.Number8() & 1) != 0);
  bool all = true;
  int messages = 0;
  while (reader.ok() && !reader.Complete()) {
    const auto bytes = reader.Raw(reader.Number16());
    v1::SyncRequest request;
    if (!reader.ok() ||
        !request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return false;
    }
    google::protobuf::io::ArrayInputStream again(
        bytes.data(), static_cast<int>(bytes.size()));
    Require(2 * rpc::ParsedSize(*request.GetDescriptor(), again, SIZE_MAX) >=
                request.SpaceUsedLong(),
            "a message takes no more memory than was measured");
    all &= stream.Take(request);
    ++messages;
  }
  return all && messages > 0;
}

std::vector<std::string> Seeds() {
  const protocol::EdgeState ipv4 = edge::SampleState();
  const Place first(edge::Ip("203.0.113.1"), "g1");
  const protocol::EdgeState ipv6 = edge::DualState();
  const Place first6(edge::Ip("2001:db8::1"), "g6");
  const std::string even(1, '\0');
  const std::string odd(1, '\1');
  return {even + Snapshot(ipv4, first) + Delta(ipv4, first) + KeyStored(),
          odd + Snapshot(ipv6, first6) + Delta(ipv6, first6)};
}

}  // namespace edged::fuzz
