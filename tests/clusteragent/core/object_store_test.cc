#include "clusteragent/core/object_store.h"

#include <catch2/catch.hpp>

#include "tests/clusteragent/core/cluster_for_test.h"
#include "tests/clusteragent/core/objects_for_test.h"

namespace edged::agent {
namespace {

using Name = ObjectStore::Name;

// WithService() as planned.
ObjectStore Planned() {
  ObjectStore store;
  store.Replace(WithService());
  store.ForgetChanges();
  return store;
}

TEST_CASE("object_store: at first everything is new", "[object_store]") {
  ObjectStore store;
  CHECK(store.changes().everything);
  store.Replace(WithService());
  store.ForgetChanges();
  CHECK(store.changes().empty());
}

TEST_CASE("object_store: what is set as it was is no change",
          "[object_store]") {
  ObjectStore store = Planned();
  store.Replace(WithService());
  CHECK(store.changes().empty());
  store.Put(store.services().begin()->second);
  store.Put(store.port_bindings().begin()->second);
  store.SetSlices({"default", "gone"}, {});
  store.RemoveService({"default", "gone"});
  CHECK(store.changes().empty());
}

TEST_CASE("object_store: names what changed", "[object_store]") {
  ObjectStore store = Planned();
  World world = WithService();
  const Name web{"default", "web"};

  SECTION("a Service, and what stands behind it") {
    world.cluster->services[0].headless = true;
    store.Replace(world);
    CHECK(store.changes().services == std::set<Name>{web});
    store.ForgetChanges();
    world.cluster->slices.clear();
    store.Replace(world);
    CHECK(store.changes().services == std::set<Name>{web});
    CHECK(store.SlicesOf(web).empty());
    store.ForgetChanges();
    world.cluster->services.clear();
    store.Replace(world);
    CHECK(store.changes().services == std::set<Name>{web});
    CHECK_FALSE(store.changes().everything);
  }
  SECTION("a PortBinding") {
    world.port_bindings.clear();
    store.Replace(world);
    CHECK(store.changes().port_bindings == std::set<Name>{web});
    CHECK(store.changes().services.empty());
    CHECK(store.port_bindings().empty());
  }
  SECTION("a Namespace's consent") {
    const std::set<std::string> shop = {"shop"};
    Namespace open{.meta = {.name = "shop"}};
    world.cluster->namespaces = {open};
    store.Replace(world);
    CHECK(store.changes().empty());  // as little as without it
    open.meta.labels["edged.dev/allow-port-bindings"] = "true";
    world.cluster->namespaces = {open};
    store.Replace(world);
    CHECK(store.changes().consents == shop);
    store.ForgetChanges();
    open.meta.labels["of-others"] = "x";
    world.cluster->namespaces = {open};
    store.Replace(world);
    CHECK(store.changes().empty());
    world.cluster->namespaces.clear();
    store.Replace(world);
    CHECK(store.changes().consents == shop);
    store.ForgetChanges();
    world.cluster->grants = {{.meta = {.name_space = "shop", .name = "g"}}};
    store.Replace(world);
    CHECK(store.changes().consents == shop);
    CHECK_FALSE(store.changes().everything);
  }
  SECTION("an address") {
    world.cluster->services[0].cluster_ips = {Ip("10.96.0.11"), Ip("fd00::10")};
    store.Replace(world);
    CHECK(store.changes().addresses ==
          std::set<IpAddress>{Ip("10.96.0.10"), Ip("10.96.0.11")});
    CHECK(store.addresses().HoldersOf(Ip("10.96.0.10")).empty());
    CHECK(store.addresses().Holds("default", Ip("10.96.0.11")));
  }
  SECTION("what all objects rest on is everything") {
    const int kind = GENERATE(0, 1, 2);
    if (kind == 0) world.edge_nodes[0].address = "192.0.2.99";
    const ObjectMeta exposed{.name = "new",
                             .annotations = {{"edged.dev/expose", "true"}}};
    if (kind == 1) world.cluster->namespaces = {{.meta = exposed}};
    if (kind == 2) world.cluster->annotations.prefix = "example.com";
    store.Replace(world);
    CHECK(store.changes().everything);
  }
}

}  // namespace
}  // namespace edged::agent
