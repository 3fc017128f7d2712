#include "common/drift/repair_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "common/nftables/print.h"

namespace edged {
namespace {

using nftables::Transaction;

constexpr size_t kCommandsTold = 2;
constexpr size_t kElementsTold = 3;
constexpr size_t kCommandLimit = 160;

// An operation cut to the elements that are told.
nftables::Operation Shortened(nftables::Operation operation) {
  const auto cut = [](auto& change) {
    if (change.elements.size() > kElementsTold) {
      change.elements.resize(kElementsTold);
    }
  };
  if (auto* add = std::get_if<nftables::AddElements>(&operation)) cut(*add);
  if (auto* removal = std::get_if<nftables::DeleteElements>(&operation)) {
    cut(*removal);
  }
  return operation;
}

size_t ElementCount(const nftables::Operation& operation) {
  if (const auto* add = std::get_if<nftables::AddElements>(&operation)) {
    return add->elements.size();
  }
  if (const auto* removal = std::get_if<nftables::DeleteElements>(&operation)) {
    return removal->elements.size();
  }
  return 1;
}

}  // namespace

std::string Summary(const Transaction& transaction) {
  const auto& operations = transaction.operations();
  size_t changes = 0;
  for (const auto& operation : operations) changes += ElementCount(operation);
  std::string text =
      fmt::format("{} change{}", changes, changes == 1 ? "" : "s");
  for (size_t i = 0; i < std::min(operations.size(), kCommandsTold); ++i) {
    std::string command =
        nftables::Print(Shortened(operations[i]), transaction.table());
    const bool cut = command.size() > kCommandLimit ||
                     ElementCount(operations[i]) > kElementsTold;
    if (command.size() > kCommandLimit) command.resize(kCommandLimit);
    text +=
        fmt::format("{} {}{}", i == 0 ? ":" : ";", command, cut ? " ..." : "");
  }
  if (operations.size() > kCommandsTold) text += "; ...";
  return text;
}

}  // namespace edged
