#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/nftables/client.h"
#include "common/nftables/events.h"

namespace edged::edge {

// An nf_tables client that stops its own listening around loads of many
// elements, the slots of a group among them, which would take ten times as long
// and a page of kernel memory for each element.
class QuietLoader final : public nftables::Client {
 public:
  // `client` is borrowed.
  explicit QuietLoader(nftables::Client& client) : client_(client) {}

  // From now on `events` are silenced during loads; `missed` is called when
  // somebody else wrote meanwhile. Both outlive the loader or the next call.
  void Silence(nftables::Events* events, std::function<void()> missed) {
    events_ = events;
    missed_ = std::move(missed);
  }

  absl::Status Apply(const nftables::Transaction& transaction) override;
  absl::StatusOr<nftables::Listing> List(const std::string& table) override {
    return client_.List(table);
  }
  absl::Status ForEachElement(
      const std::string& table, const nftables::Set& set,
      const std::function<void(const nftables::Element&)>& each) override {
    return client_.ForEachElement(table, set, each);
  }
  absl::StatusOr<std::vector<nftables::Element>> GetElements(
      const std::string& table, const nftables::Set& set,
      const std::vector<nftables::Element>& keys) override {
    return client_.GetElements(table, set, keys);
  }
  absl::StatusOr<uint32_t> Generation() override {
    return client_.Generation();
  }
  uint32_t port() const override { return client_.port(); }

 private:
  nftables::Client& client_;
  nftables::Events* events_ = nullptr;
  std::function<void()> missed_;
};

}  // namespace edged::edge
