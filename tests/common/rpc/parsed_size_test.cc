#include "common/rpc/parsed_size.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <catch2/catch.hpp>
#include <string>

#include "common/record_proto/record_proto.h"
#include "edged/v1/edge.pb.h"
#include "tests/common/protocol/random_state.h"

namespace edged::rpc {
namespace {

using google::protobuf::io::ArrayInputStream;

constexpr size_t kNoLimit = size_t{1} << 40;

size_t SizeOf(const std::string& bytes, size_t most = kNoLimit) {
  ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  return ParsedSize(*v1::SyncRequest::descriptor(), stream, most);
}

// What protobuf itself says that the message takes.
size_t TakenBy(const std::string& bytes) {
  v1::SyncRequest request;
  static_cast<void>(request.ParseFromString(bytes));
  return request.SpaceUsedLong();
}

std::string Repeated(const std::string& bytes, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += bytes;
  return all;
}

// SyncRequest.snapshot or .delta with this content.
std::string Within(char field, const std::string& content) {
  std::string bytes(1, static_cast<char>(field << 3 | 2));
  size_t size = content.size();
  for (; size > 127; size >>= 7) bytes += static_cast<char>(size | 128);
  return bytes + static_cast<char>(size) + content;
}

TEST_CASE("parsed_size: what is little on the wire and much in memory",
          "[parsed_size]") {
  constexpr int kCount = 10'000;
  std::string bomb;
  SECTION("empty records") {
    const char field = GENERATE(3, 4, 5);
    bomb = Within(2, Repeated({static_cast<char>(field << 3 | 2), 0}, kCount));
  }
  SECTION("empty names") {
    const char field = GENERATE(4, 6);
    bomb = Within(3, Repeated({static_cast<char>(field << 3 | 2), 0}, kCount));
  }
  SECTION("names in one group") {
    const std::string names = Repeated(std::string("\x22\0", 2), kCount);
    bomb = Within(2, Within(4, names));
  }
  SECTION("fields that nobody knows") {
    bomb = Repeated(GENERATE(std::string("\x78\0", 2),    // a number
                             std::string("\x7a\0", 2),    // a text
                             std::string("\x7b\x7c", 2),  // a group
                             std::string("\x0a\0", 2)),   // Hello, again
                    kCount);
  }
  SECTION("a record that comes as a number") {
    bomb = Within(2, Repeated(std::string("\x18\0", 2), kCount));
  }
  CHECK(2 * SizeOf(bomb) > TakenBy(bomb));
  CHECK(SizeOf(bomb, 5'000) < 6'000);
  CHECK(SizeOf(bomb, 5'000) > 5'000);
}

TEST_CASE("parsed_size: states are measured as they are", "[parsed_size]") {
  protocol::RandomStates states(20261121);
  for (int i = 0; i < 200; ++i) {
    const protocol::EdgeState state = states.Next();
    v1::SyncRequest request;
    v1::SnapshotChunk& chunk = *request.mutable_snapshot();
    *chunk.mutable_settings() = record_proto::ToProto(state.settings);
    for (const auto& one : state.uplinks)
      *chunk.add_uplinks() = record_proto::ToProto(one);
    for (const auto& one : state.groups)
      *chunk.add_groups() = record_proto::ToProto(one);
    for (const auto& one : state.mappings)
      *chunk.add_mappings() = record_proto::ToProto(one);
    const std::string bytes = request.SerializeAsString();
    const size_t taken = TakenBy(bytes);
    CHECK(2 * SizeOf(bytes) > taken);
    CHECK(SizeOf(bytes) < 2 * taken + 1'000);
    // Cut short, it is still measured as far as it goes.
    for (size_t cut = 0; cut < bytes.size(); cut += 7) {
      CHECK(SizeOf(bytes.substr(0, cut)) <= SizeOf(bytes) + 64);
    }
  }
}

TEST_CASE("parsed_size: lengths that lie end the measuring", "[parsed_size]") {
  for (const char* length :
       {"\x7f", "\xff\xff\xff\xff\x07", "\xff\xff\xff\xff\x0f",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"}) {
    for (const char* tag : {"\x12", "\x7a", "\x1a"}) {
      const std::string bytes = std::string(tag) + length + "\x22\x01g";
      CHECK(2 * SizeOf(bytes) >= TakenBy(bytes));
    }
  }
}

}  // namespace
}  // namespace edged::rpc
