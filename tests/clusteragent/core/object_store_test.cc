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
  SECTION("what all objects rest on is everything") {
    const int kind = GENERATE(0, 1, 2, 3);
    if (kind == 0) world.edge_nodes[0].address = "192.0.2.99";
    if (kind == 1) world.cluster->namespaces = {{.meta = {.name = "new"}}};
    if (kind == 2) world.cluster->grants = {{.meta = {.name = "new"}}};
    if (kind == 3) world.cluster->annotations.prefix = "example.com";
    store.Replace(world);
    CHECK(store.changes().everything);
  }
}

}  // namespace
}  // namespace edged::agent
