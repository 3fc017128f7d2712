#include "common/nftables/listing.h"

#include "common/nftables/element_codec.h"
#include "common/nftables/rule_compiler.h"
#include "common/status.h"

namespace edged::nftables {

std::string ExpressionsOf(const Rule& rule) {
  constexpr uint32_t kFirstSetId = 1;
  const auto compiled = Compile(rule, kFirstSetId);
  if (!compiled.ok()) {
    return fmt::format("refused: {}", Message(compiled.status()));
  }
  return ExpressionsText(
      compiled->expressions, [&](std::string_view name, uint32_t id) {
        if (id == 0) return fmt::format("@{}", name);
        const auto& set = compiled->sets.at(id - kFirstSetId);
        return ElementsText(set.elements);
      });
}

}  // namespace edged::nftables
