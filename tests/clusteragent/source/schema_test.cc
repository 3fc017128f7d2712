#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "clusteragent/core/validate.h"
#include "clusteragent/source/object_json.h"
#include "common/config/document.h"
#include "common/files.h"
#include "common/status.h"

// The CRDs say the same as the reader of objects and the judge of bindings.

namespace edged::agent {
namespace {

using nlohmann::json;
using Pointer = json::json_pointer;

const std::string kRoot = std::string(TEST_SOURCE_DIR) + "/../../..";

std::string Text(const std::string& path) {
  const auto text = ReadFile(kRoot + "/" + path);
  REQUIRE(text.ok());
  return *text;
}

std::vector<json> Documents(const std::string& path) {
  const auto documents = config::ParseYaml(Text(path), path);
  INFO(documents.status().ToString());
  REQUIRE(documents.ok());
  std::vector<json> roots;
  for (const auto& document : *documents) roots.push_back(document.root);
  return roots;
}

struct Crd {
  std::string kind;
  json spec;  // the schema of `spec`
};

std::vector<Crd> Crds() {
  std::vector<Crd> crds;
  for (const char* plural : {"edgenodes", "portbindings"}) {
    const json root =
        Documents(fmt::format("packaging/kubernetes/crds/{}.yaml", plural))[0];
    crds.push_back(
        {root.at("/spec/names/kind"_json_pointer),
         root.at(
             "/spec/versions/0/schema/openAPIV3Schema/properties/spec"_json_pointer)});
  }
  return crds;
}

json Whole(const std::string& kind, const json& spec) {
  return {{"apiVersion", "edged.dev/v1alpha1"},
          {"kind", kind},
          {"metadata", {{"name", "x"}}},
          {"spec", spec}};
}

absl::StatusOr<Object> Read(const std::string& kind, const json& spec) {
  return ReadObject(config::FromJson(Whole(kind, spec)));
}

// What the agent has against it, whatever is not served yet apart; "" where it
// has nothing.
std::string Against(const std::string& kind, const json& spec) {
  const auto object = Read(kind, spec);
  if (!object.ok()) return std::string(Message(object.status()));
  if (!std::holds_alternative<PortBinding>(*object)) return "";
  const JudgedObject judged = Judge(std::get<PortBinding>(*object));
  std::string all = judged.refused ? judged.refused->message : "";
  for (const JudgedBinding& binding : judged.bindings) {
    const Refusal* refusal = binding.refused();
    if (refusal == nullptr || refusal->reason == reason::kFeatureNotAvailable) {
      continue;
    }
    all += refusal->message + "\n";
  }
  return all;
}

// Calls `visit` for a schema and everything below it, with where its values lie
// ("/bindings/0/target").
using Visit = std::function<void(const Pointer& at, const json& schema)>;
void Walk(const json& schema, const Pointer& at, const Visit& visit) {
  visit(at, schema);
  if (schema.contains("items")) Walk(schema.at("items"), at / 0, visit);
  if (!schema.contains("properties")) return;
  for (const auto& [name, property] : schema.at("properties").items()) {
    Walk(property, at / name, visit);
  }
}

// An object with every object that it can hold, all of them empty.
json Skeleton(const json& schema) {
  if (schema.value("type", "") == "array") {
    const json item = Skeleton(schema.at("items"));
    return item.is_object() ? json::array({item}) : json(nullptr);
  }
  if (!schema.contains("properties")) return nullptr;
  json object = json::object();
  for (const auto& [name, property] : schema.at("properties").items()) {
    json below = Skeleton(property);
    if (!below.is_null()) object[name] = std::move(below);
  }
  return object;
}

// As the API server fills them in.
void FillDefaults(const json& schema, json& value) {
  if (value.is_array()) {
    for (json& item : value) FillDefaults(schema.at("items"), item);
  }
  if (!value.is_object() || !schema.contains("properties")) return;
  for (const auto& [name, property] : schema.at("properties").items()) {
    if (!value.contains(name) && property.contains("default")) {
      value[name] = property.at("default");
    }
    if (value.contains(name)) FillDefaults(property, value[name]);
  }
}

std::set<std::string> WordsOfReaders() {
  std::set<std::string> words;
  for (const char* file :
       {"edge_node_json.cc", "port_binding_json.cc", "object_json.cc"}) {
    const std::string text = Text(std::string("clusteragent/source/") + file);
    const std::regex quoted("\"([A-Za-z0-9]+)\"");
    for (std::sregex_iterator i(text.begin(), text.end(), quoted), end;
         i != end; ++i) {
      words.insert((*i)[1]);
    }
  }
  return words;
}

// Where `value` has something at `at`, in which an index is that of any item.
void FindAll(const json& value, const std::vector<std::string>& at,
             const Pointer& here, std::vector<Pointer>& found) {
  if (at.empty()) {
    found.push_back(here);
    return;
  }
  const std::vector<std::string> rest(at.begin() + 1, at.end());
  if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) {
      FindAll(value[i], rest, here / i, found);
    }
  } else if (value.is_object() && value.contains(at[0])) {
    FindAll(value.at(at[0]), rest, here / at[0], found);
  }
}

std::vector<std::string> Split(Pointer at) {
  std::vector<std::string> parts;
  for (; !at.empty(); at.pop_back()) parts.insert(parts.begin(), at.back());
  return parts;
}

// Every value of `kind` in accepted.yaml that lies at `at`, as (spec, where
// exactly).
std::vector<std::pair<json, Pointer>> AcceptedAt(const std::string& kind,
                                                 const Pointer& at) {
  static const std::vector<json> kAccepted =
      Documents("tests/kube/objects/accepted.yaml");
  std::vector<std::pair<json, Pointer>> all;
  for (const json& one : kAccepted) {
    if (one.at("kind") != kind) continue;
    std::vector<Pointer> found;
    FindAll(one.at("spec"), Split(at), Pointer(), found);
    for (const Pointer& there : found) all.emplace_back(one.at("spec"), there);
  }
  return all;
}

// "spec.bindings[0].name", as errors have it.
std::string Path(const Pointer& at) {
  return "spec" +
         std::regex_replace(std::regex_replace(at.to_string(),
                                               std::regex("/([0-9]+)"), "[$1]"),
                            std::regex("/"), ".");
}

TEST_CASE("schema: what is refused, the agent refuses by field and value",
          "[schema]") {
  for (const json& one : Documents("tests/kube/objects/refused.yaml")) {
    INFO(one.at("case"));
    const std::string message = Against(one.at("kind"), one.at("spec"));
    CHECK_THAT(message, Catch::Contains(one.at("field").get<std::string>()) &&
                            Catch::Contains(one.value("value", "")) &&
                            Catch::Contains("spec"));
  }
}

TEST_CASE("schema: what is accepted, the agent accepts", "[schema]") {
  for (const json& one : Documents("tests/kube/objects/accepted.yaml")) {
    INFO(one.at("case"));
    CHECK(Against(one.at("kind"), one.at("spec")) == "");
  }
}

TEST_CASE("schema: has the fields that the agent reads, and no other",
          "[schema]") {
  const std::set<std::string> words = WordsOfReaders();
  REQUIRE(words.contains("persistentKeepalive"));
  for (const Crd& crd : Crds()) {
    json skeleton = Skeleton(crd.spec);
    if (crd.kind == "EdgeNode") {
      skeleton["address"] = skeleton["publicIPs"][0]["address"] = "203.0.113.1";
    }
    Walk(crd.spec, Pointer(), [&](const Pointer& at, const json& schema) {
      if (!schema.contains("properties")) return;
      for (const auto& [name, property] : schema.at("properties").items()) {
        INFO(crd.kind << ": no reader has the word " << name);
        CHECK(words.contains(name));
      }
      for (const std::string& word : words) {
        json spec = skeleton;
        json& object = spec.at(at);
        // Of a type that no field has: the reader says so, if it knows it.
        if (!object.contains(word)) object[word] = {{1, 2}};
        const std::string message = Against(crd.kind, spec);
        const bool known = message.find("unknown field") == std::string::npos;
        INFO(crd.kind << " " << Path(at / word) << ": " << message);
        CHECK(known == schema.at("properties").contains(word));
      }
    });
  }
}

TEST_CASE("schema: its defaults are what the agent takes for nothing",
          "[schema]") {
  for (const Crd& crd : Crds()) {
    for (const json& one : Documents("tests/kube/objects/accepted.yaml")) {
      if (one.at("kind") != crd.kind) continue;
      json filled = one.at("spec");
      FillDefaults(crd.spec, filled);
      const auto written = Read(crd.kind, one.at("spec"));
      const auto read = Read(crd.kind, filled);
      INFO(one.at("case") << ": " << read.status().ToString());
      REQUIRE(read.ok());
      CHECK(*read == *written);
    }
  }
}

TEST_CASE("schema: its limits, words and required fields are the agent's",
          "[schema]") {
  size_t probes = 0;
  const auto refuses = [&probes](const std::string& kind, json spec,
                                 const Pointer& at, const json& value) {
    spec[at] = value;
    INFO(kind << " " << Path(at) << ": " << value.dump());
    ++probes;
    CHECK_THAT(Against(kind, spec), Catch::Contains(Path(at)));
  };
  // Whatever else may be wrong beside it.
  const auto takes = [&probes](const std::string& kind, json spec,
                               const Pointer& at, const json& value) {
    spec[at] = value;
    ++probes;
    const std::string text = value.is_string()
                                 ? value.dump()
                                 : fmt::format("{} is not", value.dump());
    CHECK_THAT(Against(kind, spec), !Catch::Contains(Path(at) + ": " + text));
  };
  for (const Crd& crd : Crds()) {
    Walk(crd.spec, Pointer(), [&](const Pointer& at, const json& schema) {
      const auto found = AcceptedAt(crd.kind, at);
      INFO("in no accepted object: " << crd.kind << " " << Path(at));
      REQUIRE(!found.empty());
      for (const auto& [spec, there] : found) {
        if (schema.contains("minimum")) {
          const int64_t least = schema.at("minimum");
          const int64_t most = schema.at("maximum");
          refuses(crd.kind, spec, there, least - 1);
          refuses(crd.kind, spec, there, most + 1);
          takes(crd.kind, spec, there, least);
          takes(crd.kind, spec, there, most);
        }
        if (schema.contains("enum")) {
          refuses(crd.kind, spec, there, "Bogus");
          for (const json& word : schema.at("enum")) {
            takes(crd.kind, spec, there, word);
          }
        }
        for (const std::string name : schema.value("required", json::array())) {
          if (name == "secretRef") continue;
          json without = spec;
          without.at(there).erase(name);
          INFO(crd.kind << " without " << Path(there / name));
          ++probes;
          CHECK(Against(crd.kind, without) != "");
        }
      }
    });
  }
  CHECK(probes > 200);
}

}  // namespace
}  // namespace edged::agent
