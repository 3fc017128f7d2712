#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/nftables/expressions.h"
#include "common/nftables/ruleset.h"

// Appends single expressions to a list: one method, one expression. Values go
// through the first register, unless a register is named.

namespace edged::nftables {

// Registers are counted in words of 4 bytes. The kernel names a register of 16
// bytes where one begins, else the word (enum nft_registers).
inline constexpr uint32_t kWordsPerRegister = 4;
uint32_t RegisterAt(uint32_t word);
constexpr uint32_t WordsOf(size_t bytes) {
  return static_cast<uint32_t>((bytes + 3) / 4);
}

class ExpressionWriter {
 public:
  // `list` outlives the writer.
  explicit ExpressionWriter(Expressions& list) : list_(list) {}

  void Load(Field field, uint32_t word = 0);
  // Only the first `size` bytes, of an address.
  void LoadPart(Field field, size_t size, uint32_t word = 0);
  void LoadIcmpMtu();
  void Compare(const Bytes& value, bool negate);
  void CompareBelow(const Bytes& value);
  void Mask(const Bytes& mask, const Bytes& flip);  // (value & mask) ^ flip
  void Immediate(const Bytes& value, uint32_t word = 0);

  void LookUp(const std::string& set, uint32_t set_id, bool negate);
  void LookUpData(const std::string& map, uint32_t map_id);
  void LookUpVerdict(const std::string& map);
  // Hashes `size` bytes from `word` on.
  void Hash(uint32_t word, size_t size, uint32_t modulus, uint32_t seed);

  void SetMark();
  void SetTrace();
  void SetCtMark();
  // The port lies at `port_word`; 0: the port stays. `flags` are
  // NF_NAT_RANGE_*.
  void Nat(NatKind kind, Family family, uint32_t port_word, uint32_t flags);
  void Masquerade();
  void Reject(uint32_t type, uint8_t code);  // NFT_REJECT_*
  void LoadRouteMss();
  void SwapMss();  // to network order
  void WriteMss();
  void Count();
  void SetTimeout(const std::string& object);
  void NoTrack();
  void Decide(const Verdict& verdict);

 private:
  void Begin(const char* name);
  void U32(uint16_t attribute, uint32_t value);
  void U8(uint16_t attribute, uint8_t value);
  void Data(uint16_t attribute, const Bytes& bytes);
  void CompareAs(uint32_t comparison, const Bytes& value);
  void Text(uint16_t attribute, const std::string& text);
  void LoadFrom(uint32_t base, uint32_t offset, size_t size, uint32_t reg);
  void BeginLookup(const std::string& set, uint32_t set_id);

  Expressions& list_;
};

}  // namespace edged::nftables
