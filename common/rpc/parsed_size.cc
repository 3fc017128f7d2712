#include "common/rpc/parsed_size.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdint>

#include "absl/container/flat_hash_map.h"

namespace edged::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::MessageFactory;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Of an object on the heap, with the pointer to it.
constexpr size_t kHeap = 24;
constexpr size_t kText = kHeap + 32;
constexpr size_t kNumber = 8;
// A field or a group that the type does not know is kept as well.
constexpr size_t kUnknown = 64;

class Measure {
 public:
  Measure(CodedInputStream& bytes, size_t most) : bytes_(bytes), most_(most) {}

  size_t size() const { return size_; }

  // False: nothing after it counts.
  bool Add(const Descriptor& type) {
    size_ += SizeOfEmpty(type);
    while (size_ <= most_) {
      const uint32_t tag = bytes_.ReadTag();
      if (tag == 0) return bytes_.ConsumedEntireMessage();
      if (!AddField(type, tag)) return false;
    }
    return false;
  }

 private:
  // nullptr: not known, or sent as something else.
  static const FieldDescriptor* FieldOf(const Descriptor& type, uint32_t tag) {
    const FieldDescriptor* field =
        type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (!field) return nullptr;
    const auto wire_type = WireFormatLite::GetTagWireType(tag);
    const auto own = WireFormatLite::WireTypeForFieldType(
        static_cast<WireFormatLite::FieldType>(field->type()));
    const bool is_packed =
        wire_type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED &&
        field->is_packable();
    return wire_type == own || is_packed ? field : nullptr;
  }

  bool AddField(const Descriptor& type, uint32_t tag) {
    const FieldDescriptor* field = FieldOf(type, tag);
    const auto wire_type = WireFormatLite::GetTagWireType(tag);
    if (wire_type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      uint32_t length = 0;
      return bytes_.ReadVarint32(&length) && AddContent(field, length);
    }
    size_ += field ? kNumber : kUnknown;
    // What stands in a group is measured as if it stood beside it.
    return wire_type == WireFormatLite::WIRETYPE_START_GROUP ||
           wire_type == WireFormatLite::WIRETYPE_END_GROUP ||
           WireFormatLite::SkipField(&bytes_, tag);
  }

  bool AddContent(const FieldDescriptor* field, uint32_t length) {
    if (!field || !field->message_type()) {
      const bool is_packed = field && field->is_packable();
      size_ += is_packed ? length * kNumber : (field ? kText : kUnknown);
      size_ += length;
      return bytes_.Skip(static_cast<int>(length));
    }
    size_ += kHeap;
    const auto outer = bytes_.PushLimit(static_cast<int>(length));
    const bool whole = Add(*field->message_type());
    bytes_.PopLimit(outer);
    return whole;
  }

  size_t SizeOfEmpty(const Descriptor& type) {
    size_t& size = empty_[&type];
    if (size == 0) {
      size = MessageFactory::generated_factory()
                 ->GetPrototype(&type)
                 ->SpaceUsedLong();
    }
    return size;
  }

  CodedInputStream& bytes_;
  const size_t most_;
  size_t size_ = 0;
  absl::flat_hash_map<const Descriptor*, size_t> empty_;
};

}  // namespace

size_t ParsedSize(const Descriptor& type,
                  google::protobuf::io::ZeroCopyInputStream& bytes,
                  size_t most) {
  CodedInputStream stream(&bytes);
  Measure measure(stream, most);
  measure.Add(type);
  return measure.size();
}

}  // namespace edged::rpc
