#include <catch2/catch.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "edged/system/quiet_loader.h"
#include "tests/common/nftables/nft_tool.h"

namespace edged::edge {
namespace {

using nftables::Element;
using nftables::Nft;

const nftables::Set kMarks{"marks", {nftables::Type::kMark}, {}, false, false};

nftables::Transaction Load(uint32_t first, uint32_t count) {
  std::vector<Element> elements(count);
  for (uint32_t i = 0; i < count; ++i) {
    elements[i].key = nftables::MarkBytes(first + i);
  }
  nftables::Transaction load("edged");
  load.Add(nftables::AddTable{});
  load.Add(nftables::AddSet{kMarks});
  load.Add(nftables::AddElements{kMarks, std::move(elements)});
  return load;
}

// A client beside whom somebody else writes during each Apply().
class Disturbed final : public nftables::Client {
 public:
  explicit Disturbed(nftables::Client& client) : client_(client) {}
  absl::Status Apply(const nftables::Transaction& transaction) override {
    Nft("add table inet stranger" + std::to_string(++tables_));
    return client_.Apply(transaction);
  }
  absl::StatusOr<nftables::Listing> List(const std::string& table) override {
    return client_.List(table);
  }
  absl::Status ForEachElement(
      const std::string& table, const nftables::Set& set,
      const std::function<void(const Element&)>& each) override {
    return client_.ForEachElement(table, set, each);
  }
  absl::StatusOr<std::vector<Element>> GetElements(
      const std::string& table, const nftables::Set& set,
      const std::vector<Element>& keys) override {
    return client_.GetElements(table, set, keys);
  }
  absl::StatusOr<uint32_t> Generation() override {
    return client_.Generation();
  }

 private:
  nftables::Client& client_;
  int tables_ = 0;
};

// A loader that is listened to; counts the events of its loads.
struct Scene {
  explicit Scene(nftables::Client& client) : loader(client) {
    Nft("flush ruleset");
    auto opened = nftables::Events::Open();
    REQUIRE(opened.status() == absl::OkStatus());
    events = std::make_unique<nftables::Events>(*std::move(opened));
    loader.Silence(events.get(), [this] { ++missed; });
  }
  size_t EventsOf(const nftables::Transaction& load) {
    REQUIRE(loader.Apply(load) == absl::OkStatus());
    size_t count = 0;
    REQUIRE(events->Read([&count](const nftables::Event& event) {
      if (event.table == "edged") ++count;
    }) == absl::OkStatus());
    return count;
  }

  std::unique_ptr<nftables::Events> events;
  QuietLoader loader;
  int missed = 0;
};

}  // namespace

TEST_CASE("quiet_loader: nobody listens to a load of many elements",
          "[quiet_loader][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = std::move(nftables::Client::Open().value());
  Scene scene(*client);
  CHECK(scene.EventsOf(Load(1, 10)) > 0);
  CHECK(scene.EventsOf(Load(1000, 5000)) == 0);
  CHECK(scene.EventsOf(Load(11, 1)) > 0);  // it listens again
  CHECK(scene.missed == 0);
}

TEST_CASE("quiet_loader: nor to a rule of many slots",
          "[quiet_loader][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = std::move(nftables::Client::Open().value());
  Scene scene(*client);
  nftables::NatByHash nat{.key = {nftables::Field::kIpSaddr}, .seed = 1};
  nat.slots.assign(256, nftables::Bytes{10, 200, 0, 17});
  nftables::Transaction load("edged");
  load.Add(nftables::AddTable{});
  load.AddChainWithRules({.name = "group", .rules = {{{nat}}}});
  CHECK(scene.EventsOf(load) == 0);
  CHECK(scene.missed == 0);
}

TEST_CASE("quiet_loader: says when others wrote meanwhile",
          "[quiet_loader][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = std::move(nftables::Client::Open().value());
  Disturbed disturbed(*client);
  Scene scene(disturbed);
  CHECK(scene.EventsOf(Load(1, 10)) > 0);
  CHECK(scene.missed == 0);  // that one was heard
  CHECK(scene.EventsOf(Load(1000, 5000)) == 0);
  CHECK(scene.missed == 1);
}

TEST_CASE("quiet_loader: a refused load is no loss", "[quiet_loader][kernel]") {
  SKIP_IF_IMPOSSIBLE();
  const auto client = std::move(nftables::Client::Open().value());
  Scene scene(*client);
  nftables::Transaction refused = Load(1, 5000);
  refused.Add(nftables::DeleteChain{"nowhere"});
  CHECK(absl::IsNotFound(scene.loader.Apply(refused)));
  CHECK(scene.missed == 0);
  CHECK(scene.EventsOf(Load(1, 10)) > 0);
}

}  // namespace edged::edge
