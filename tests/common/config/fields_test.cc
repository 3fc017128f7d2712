#include "common/config/fields.h"

#include <catch2/catch.hpp>
#include <string>

#include "common/status.h"

namespace edged::config {
namespace {

Document Parse(std::string_view text) {
  auto documents = ParseYaml(text, "edges.yaml");
  REQUIRE(documents.ok());
  REQUIRE(documents->size() == 1);
  return std::move(documents->front());
}

std::string Finish(Fields& fields) {
  const absl::Status status = fields.Finish();
  return status.ok() ? "ok" : std::string(Message(status));
}

// Reads the field `a` of a document of one line by `read`; the mistake, or
// "ok".
template <typename Read>
std::string Mistake(const std::string& value, Read read) {
  const Document document = Parse("a: " + value + "\n");
  Fields fields(document, document.root);
  read(fields);
  return Finish(fields);
}

TEST_CASE("fields: reads every kind of field", "[fields]") {
  const Document document = Parse(
      "kind: EdgeNode\n"
      "on: true\n"
      "spec:\n"
      "  port: 51820\n"
      "  cidrs: [10.0.0.0/8, \"::/0\"]\n"
      "  labels: {a.b/c: x, d: \"1\"}\n"
      "  list:\n"
      "  - {name: a}\n"
      "  - {name: b}\n"
      "  nothing:\n"
      "metadata: {managedFields: [{a: {}}]}\n"
      "status: {x: 1}\n");
  Fields fields(document, document.root);
  CHECK(fields.RequiredString("kind") == "EdgeNode");
  CHECK(fields.String("missing", "fallback") == "fallback");
  CHECK(fields.Bool("on", false));
  CHECK(fields.Bool("off", true));
  CHECK(fields.Has("spec"));
  Fields spec = fields.Object("spec");
  CHECK_FALSE(spec.Has("nothing"));
  CHECK(spec.String("nothing", "fallback") == "fallback");
  CHECK(spec.Int("port", 1, 1, 65535) == 51820);
  CHECK(spec.Int("other", 25, 0, 100) == 25);
  CHECK(spec.Strings("cidrs") ==
        std::vector<std::string>{"10.0.0.0/8", "::/0"});
  CHECK(spec.StringMap("labels") ==
        std::map<std::string, std::string>{{"a.b/c", "x"}, {"d", "1"}});
  std::string names;
  for (Fields& item : spec.Objects("list")) {
    names += item.path() + "=" + item.RequiredString("name") + " ";
  }
  CHECK(names == "spec.list[0]=a spec.list[1]=b ");
  CHECK(fields.Object("absent").String("x") == "");
  fields.Object("metadata").IgnoreAll();
  fields.Ignore("status");
  CHECK(Finish(fields) == "ok");
}

TEST_CASE("fields: names file, line, path and value of a mistake", "[fields]") {
  const auto port = [](Fields& f) { f.Int("a", 1, 1, 65535); };
  const auto keepalive = [](Fields& f) { f.Int("a", 25, 0, 600); };
  CHECK(Mistake("70000", port) ==
        "edges.yaml:1: a: 70000 is not a port (1-65535)");
  CHECK(Mistake("0", port) == "edges.yaml:1: a: 0 is not a port (1-65535)");
  CHECK(Mistake("\"443\"", port) ==
        "edges.yaml:1: a: \"443\" is not a port (1-65535)");
  CHECK(Mistake("443.0", port) ==
        "edges.yaml:1: a: 443 is not a port (1-65535)");
  CHECK(Mistake("-1", keepalive) ==
        "edges.yaml:1: a: -1 is not a whole number from 0 to 600");
  CHECK(Mistake("18446744073709551615", keepalive) ==
        "edges.yaml:1: a: 18446744073709551615 is not a whole number from 0 to "
        "600");
  CHECK(Mistake(".inf", keepalive) ==
        "edges.yaml:1: a: inf is not a whole number from 0 to 600");
  CHECK(Mistake("12", [](Fields& f) { f.String("a"); }) ==
        "edges.yaml:1: a: 12 is not a string: quote it");
  CHECK(Mistake("[x]", [](Fields& f) { f.String("a"); }) ==
        "edges.yaml:1: a: a list is not a string");
  CHECK(Mistake("yes", [](Fields& f) { f.Bool("a", true); }) ==
        "edges.yaml:1: a: \"yes\" is not true or false");
  CHECK(Mistake("x", [](Fields& f) { f.Strings("a"); }) ==
        "edges.yaml:1: a: \"x\" is not a list of strings");
  CHECK(Mistake("[x, 1]", [](Fields& f) { f.Strings("a"); }) ==
        "edges.yaml:1: a[1]: 1 is not a string: quote it");
  CHECK(Mistake("{x.y: true}", [](Fields& f) { f.StringMap("a"); }) ==
        "edges.yaml:1: a[x.y]: true is not a string: quote it");
  CHECK(Mistake("[]", [](Fields& f) { f.StringMap("a"); }) ==
        "edges.yaml:1: a: a list is not an object with strings");
  CHECK(Mistake("12", [](Fields& f) { f.Object("a"); }) ==
        "edges.yaml:1: a: 12 is not an object");
  CHECK(Mistake("{}", [](Fields& f) { f.Objects("a"); }) ==
        "edges.yaml:1: a: an object is not a list of objects");
  CHECK(Mistake("[{}, x]", [](Fields& f) { f.Objects("a"); }) ==
        "edges.yaml:1: a[1]: \"x\" is not an object");
}

TEST_CASE("fields: shows a long value cut at a whole letter", "[fields]") {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "\xc3\xa9";
  const std::string shown = Mistake(text, [](Fields& f) { f.Bool("a", true); });
  std::string cut;
  for (int i = 0; i < 29; ++i) cut += "\xc3\xa9";
  CHECK(shown == "edges.yaml:1: a: \"" + cut + "... is not true or false");
}

TEST_CASE("fields: wants required strings", "[fields]") {
  const Document document = Parse("metadata:\n  name: \"\"\nother:\n  x: ~\n");
  {
    Fields fields(document, document.root["metadata"], "metadata");
    fields.RequiredString("name");
    CHECK(Finish(fields) == "edges.yaml:2: metadata.name: must not be empty");
  }
  {
    Fields fields(document, document.root["other"], "other");
    fields.RequiredString("x");
    CHECK(Finish(fields) == "edges.yaml:4: other.x: missing");
  }
  {
    Fields fields(document, document.root["other"], "other");
    fields.RequiredString("y");
    CHECK(Finish(fields) == "edges.yaml:3: other.y: missing");
  }
}

TEST_CASE("fields: refuses unknown fields, with a hint", "[fields]") {
  const auto read = [](Fields& f) {
    Fields a = f.Object("a");
    a.String("listenPort");
    a.String("protocol");
    a.String("mtu");
  };
  CHECK(Mistake("{listenport: x}", read) ==
        "edges.yaml:1: a.listenport: unknown field, did you mean listenPort?");
  CHECK(Mistake("{protcol: x}", read) ==
        "edges.yaml:1: a.protcol: unknown field, did you mean protocol?");
  CHECK(Mistake("{banana: x}", read) ==
        "edges.yaml:1: a.banana: unknown field");
  CHECK(Mistake("{x: x}", read) == "edges.yaml:1: a.x: unknown field");
  CHECK(Mistake("{mtu: x, mtu2: x}", read) ==
        "edges.yaml:1: a.mtu2: unknown field");
  CHECK(Mistake("{}", [](Fields&) {}) == "edges.yaml:1: a: unknown field");
}

TEST_CASE("fields: refuses unknown fields of objects that were taken",
          "[fields]") {
  const Document document = Parse(
      "spec:\n  list:\n  - name: a\n  - name: b\n    surprise: 1\n"
      "  lists: {x: 1}\n");
  Fields fields(document, document.root);
  Fields spec = fields.Object("spec");
  auto list = spec.Objects("list");
  for (Fields& item : list) item.RequiredString("name");
  CHECK(list[0].Finish().ok());  // what is beside it is not judged
  CHECK(Finish(fields) == "edges.yaml:6: spec.lists: unknown field");
  CHECK(Finish(list[1]) == "edges.yaml:6: spec.lists: unknown field");
}

TEST_CASE("fields: keeps the first mistake and gives defaults after it",
          "[fields]") {
  const Document document = Parse("a: 1\nb: {c: 7}\nd: [x]\n");
  Fields fields(document, document.root);
  CHECK(fields.status().ok());
  CHECK(fields.String("a", "fallback") == "fallback");
  CHECK(std::string(Message(fields.status())) ==
        "edges.yaml:1: a: 1 is not a string: quote it");
  Fields child = fields.Object("b");
  CHECK(child.Int("c", 3, 0, 10) == 3);
  CHECK(fields.Strings("d").empty());
  child.Fail("c", "another one");
  CHECK(Finish(child) == "edges.yaml:1: a: 1 is not a string: quote it");
  CHECK(fields.Finish().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("fields: puts the place before a reader's own mistake", "[fields]") {
  const Document document = Parse("spec:\n  network: 10.0.0.1/8\n");
  {
    Fields fields(document, document.root);
    Fields spec = fields.Object("spec");
    spec.Fail("network", "\"10.0.0.1/8\" has host bits set");
    CHECK(Finish(fields) ==
          "edges.yaml:2: spec.network: \"10.0.0.1/8\" has host bits set");
  }
  {
    Fields fields(document, document.root);
    fields.Object("spec").Fail("", "needs an address or a service");
    CHECK(Finish(fields) ==
          "edges.yaml:1: spec: needs an address or a service");
  }
}

TEST_CASE("fields: refuses a document that is no object", "[fields]") {
  const Document document = Parse("- a\n");
  Fields fields(document, document.root);
  CHECK(Finish(fields) == "edges.yaml:1: a list is not an object");
}

TEST_CASE("fields: has no lines in what an API server sends", "[fields]") {
  const Document document = FromJson({{"spec", {{"port", 0}}}});
  Fields fields(document, document.root);
  fields.Object("spec").Int("port", 1, 1, 65535);
  CHECK(Finish(fields) == "spec.port: 0 is not a port (1-65535)");
}

}  // namespace
}  // namespace edged::config
