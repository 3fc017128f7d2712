#include "common/protocol/token.h"

#include <sodium.h>

#include <algorithm>

#include "common/protocol/bytes.h"
#include "common/status.h"

namespace edged::protocol {
namespace {

constexpr std::string_view kFamily = "edged";
constexpr std::string_view kPrefix = "edged1.";
constexpr size_t kIdSize = 16;
constexpr size_t kChecksumSize = 8;
constexpr size_t kFixedSize = 128;  // above all fields but the three strings
constexpr size_t kMostText = 4096;
constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

// Wipes a buffer that held a key.
struct Wiped {
  explicit Wiped(std::string& bytes) : bytes(bytes) {}
  Wiped(const Wiped&) = delete;
  ~Wiped() { sodium_memzero(bytes.data(), bytes.size()); }
  std::string& bytes;
};

std::array<uint8_t, kChecksumSize> Checksum(std::span<const uint8_t> body) {
  std::array<uint8_t, crypto_hash_sha256_BYTES> hash;
  crypto_hash_sha256(hash.data(), body.data(), body.size());
  std::array<uint8_t, kChecksumSize> checksum;
  std::copy_n(hash.begin(), kChecksumSize, checksum.begin());
  return checksum;
}

absl::Status Damaged(std::string_view why) {
  return InvalidArgument("the token is damaged or incomplete: {}", why);
}

// The body's bytes, checksum and all.
absl::StatusOr<std::string> FromBase64(std::string_view text) {
  std::string bytes(text.size(), '\0');
  size_t length = 0;
  const char* end = nullptr;
  const int failed = sodium_base642bin(
      reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(),
      text.size(), nullptr, &length, &end, kVariant);
  if (failed != 0 || end != text.data() + text.size()) {
    const Wiped wiped(bytes);
    return Damaged("it is not base64url");
  }
  bytes.resize(length);
  return bytes;
}

// Seconds that the clock, which counts nanoseconds, can be compared with.
bool IsTime(std::chrono::sys_seconds time) {
  using std::chrono::seconds;
  using Clock = std::chrono::system_clock;
  return time >= std::chrono::ceil<seconds>(Clock::time_point::min()) &&
         time <= std::chrono::floor<seconds>(Clock::time_point::max());
}

bool IsId(std::string_view text) {
  return text.size() == kIdSize &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

template <typename Key>
Key ReadKey(ByteReader& reader) {
  const auto bytes = reader.Raw(kKeySize);
  return reader.ok() ? Key(bytes.first<kKeySize>()) : Key();
}

// Whoever made the checksum right may still have written nonsense.
absl::StatusOr<Token> ReadBody(std::span<const uint8_t> body) {
  ByteReader reader(body);
  Token token;
  token.id = reader.String();
  token.cluster_uid = reader.String();
  token.edge = reader.String();
  token.expires = std::chrono::sys_seconds(
      std::chrono::seconds(static_cast<int64_t>(reader.Number64())));
  token.listen_port = reader.Number16();
  const IpAddress address = reader.Address();
  const uint8_t length = reader.Number8();
  token.network = IpPrefix(address, length);
  token.edge_key = ReadKey<PrivateKey>(reader);
  token.control_key = ReadKey<PublicKey>(reader);
  if (!reader.Complete()) return Damaged("its fields do not fit its length");
  if (token.network.address() != address || token.network.length() != length) {
    return Damaged("its network is not a prefix");
  }
  if (!IsTime(token.expires)) return Damaged("its expiry is no time");
  if (!IsId(token.id) || token.cluster_uid.empty() || token.edge.empty() ||
      token.listen_port == 0 || token.edge_key.is_zero() ||
      token.control_key.is_zero()) {
    return Damaged("a field is empty or malformed");
  }
  return token;
}

std::string RandomId() {
  uint8_t bytes[kIdSize / 2];
  randombytes_buf(bytes, sizeof bytes);
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

absl::StatusOr<Token> IssueToken(Token known, std::chrono::seconds lifetime) {
  if (lifetime <= std::chrono::seconds::zero()) {
    return InvalidArgument("a token that is good for {} s is no use",
                           lifetime.count());
  }
  known.id = RandomId();
  known.expires = std::chrono::floor<std::chrono::seconds>(
                      std::chrono::system_clock::now()) +
                  lifetime;
  known.edge_key = PrivateKey::Generate();
  return known;
}

std::string Encode(const Token& token) {
  ByteWriter writer(kFixedSize + token.id.size() + token.cluster_uid.size() +
                    token.edge.size());
  const Wiped wiped(writer.bytes());
  writer.String(token.id);
  writer.String(token.cluster_uid);
  writer.String(token.edge);
  writer.Number64(
      static_cast<uint64_t>(token.expires.time_since_epoch().count()));
  writer.Number16(token.listen_port);
  writer.Address(token.network.address());
  writer.Number8(static_cast<uint8_t>(token.network.length()));
  writer.Raw(token.edge_key.bytes());
  writer.Raw(token.control_key.bytes());
  writer.Raw(Checksum(writer.view()));

  const auto body = writer.view();
  const size_t size = sodium_base64_encoded_len(body.size(), kVariant);
  std::string text(kPrefix);
  text.resize(kPrefix.size() + size);
  sodium_bin2base64(text.data() + kPrefix.size(), size, body.data(),
                    body.size(), kVariant);
  text.pop_back();  // the final zero that libsodium writes
  return text;
}

absl::StatusOr<Token> DecodeToken(std::string_view text) {
  if (!text.starts_with(kPrefix)) {
    const size_t dot = text.find('.');
    const bool other_version =
        text.starts_with(kFamily) && dot != std::string_view::npos &&
        dot > kFamily.size() &&
        std::ranges::all_of(
            text.substr(kFamily.size(), dot - kFamily.size()),
            [](char letter) { return letter >= '0' && letter <= '9'; });
    if (!other_version) {
      return InvalidArgument("not a token: it does not begin with \"{}\"",
                             kPrefix);
    }
    return InvalidArgument(
        "a token of another version (\"{}\"): this program reads \"{}\"",
        text.substr(0, std::min<size_t>(dot + 1, 16)), kPrefix);
  }
  if (text.size() > kMostText) return Damaged("it is too long");
  ASSIGN_OR_RETURN(std::string bytes, FromBase64(text.substr(kPrefix.size())));
  const Wiped wiped(bytes);
  if (bytes.size() < kChecksumSize) return Damaged("it is too short");
  const auto all = AsBytes(bytes);
  const auto body = all.first(all.size() - kChecksumSize);
  if (!std::ranges::equal(Checksum(body), all.last(kChecksumSize))) {
    return Damaged("its checksum is wrong");
  }
  return ReadBody(body);
}

}  // namespace edged::protocol
