#include "common/config/document.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>

#include "common/status.h"

namespace edged::config {
namespace {

// Each document as JSON on a line of its own, or the error.
std::string Read(std::string_view text) {
  const auto documents = ParseYaml(text, "a.yaml");
  if (!documents.ok()) return std::string(Message(documents.status()));
  std::string result;
  for (const Document& document : *documents) {
    result += document.root.dump() + "\n";
  }
  return result;
}

TEST_CASE("document: messages hold nothing that a terminal obeys",
          "[document]") {
  CHECK(Read("\"\\e[31m\\n\": 1\n\"\\e[31m\\n\": 2\n") ==
        "a.yaml:2: [\\u001b[31m\\n]: given twice, first in line 1");
  CHECK(Read("\"\\u009b\\x7f\": 1\n\"\\u009b\\x7f\": 2\n") ==
        "a.yaml:2: \\u009b\\u007f: given twice, first in line 1");
}

TEST_CASE("document: long names do not take memory without end", "[document]") {
  // 60 names of 1,000 letters above 50,000 fields.
  std::string text;
  for (int depth = 0; depth < 60; ++depth) {
    text += std::string(depth, ' ') + std::string(1000, 'n') + ":\n";
  }
  for (int i = 0; i < 50'000; ++i) {
    text += std::string(60, ' ') + "a" + std::to_string(i) + ": 1\n";
  }
  CHECK(Read(text) == "a.yaml:993: the names of its fields are too long");
  // As many fields under names of a usual length.
  std::string usual = "spec:\n";
  for (int i = 0; i < 50'000; ++i) {
    usual += "  a" + std::to_string(i) + ": 1\n";
  }
  CHECK(ParseYaml(usual, "a.yaml").ok());
}

TEST_CASE("document: reads YAML as JSON", "[document]") {
  CHECK(Read("spec:\n"
             "  address: 192.0.2.1\n"
             "  bindings:\n"
             "  - {name: web, listenPort: 443}\n"
             "  - name: \"53\"\n"
             "    open: true\n"
             "    six: ::1\n"
             "    none:\n") ==
        R"({"spec":{"address":"192.0.2.1","bindings":[)"
        R"({"listenPort":443,"name":"web"},)"
        R"({"name":"53","none":null,"open":true,"six":"::1"}]}})"
        "\n");
  CHECK(Read(R"({"kind": "EdgeNode", "list": [1, 2.5, null, "x"]})") ==
        "{\"kind\":\"EdgeNode\",\"list\":[1,2.5,null,\"x\"]}\n");
  CHECK(Read("text: |\n  one\n  two\n") == "{\"text\":\"one\\ntwo\\n\"}\n");
  CHECK(Read("a: 1\r\nb: 2\r\n") == "{\"a\":1,\"b\":2}\n");
  CHECK(Read("name: \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n") ==
        "{\"name\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}\n");
  CHECK(Read("") == "");
  CHECK(Read("just text") == "\"just text\"\n");
}

TEST_CASE("document: drops empty documents of a stream", "[document]") {
  CHECK(Read("---\na: 1\n---\n# nothing\n---\nb: 2\n---\n") ==
        "{\"a\":1}\n{\"b\":2}\n");
}

TEST_CASE("document: knows the line of every field", "[document]") {
  const auto documents = ParseYaml(
      "# comment\n"
      "kind: EdgeNode\n"
      "metadata:\n"
      "  annotations:\n"
      "    edged.dev/expose: \"true\"\n"
      "spec:\n"
      "  bindings:\n"
      "  - name: a\n"
      "    target: {port: 1}\n"
      "  -\n"
      "    name: b\n"
      "---\n"
      "kind: PortBinding\n",
      "edges.yaml");
  REQUIRE(documents.ok());
  REQUIRE(documents->size() == 2);
  const Document& first = (*documents)[0];
  CHECK(first.Where("kind") == "edges.yaml:2: kind");
  CHECK(first.Where("metadata.annotations[edged.dev/expose]") ==
        "edges.yaml:5: metadata.annotations[edged.dev/expose]");
  CHECK(first.Where("spec.bindings[0].target.port") ==
        "edges.yaml:9: spec.bindings[0].target.port");
  CHECK(first.Where("spec.bindings[1].name") ==
        "edges.yaml:11: spec.bindings[1].name");
  CHECK(first.Where("") == "edges.yaml:2");
  CHECK((*documents)[1].Where("kind") == "edges.yaml:13: kind");
}

TEST_CASE("document: gives a missing field the line of its parent",
          "[document]") {
  const auto documents =
      ParseYaml("kind: X\nspec:\n  list:\n  - {a: 1}\n", "e.yaml");
  REQUIRE(documents.ok());
  const Document& document = documents->front();
  CHECK(document.Where("spec.address") == "e.yaml:2: spec.address");
  CHECK(document.Where("spec.list[0].b.c") == "e.yaml:4: spec.list[0].b.c");
  CHECK(document.Where("spec[x.y/z]") == "e.yaml:2: spec[x.y/z]");
  CHECK(document.Where("metadata.name") == "e.yaml:1: metadata.name");
  CHECK(FromJson({{"a", 1}}).Where("a") == "a");
}

TEST_CASE("document: refuses what reads differently than it looks",
          "[document]") {
  CHECK(Read("a: 1\nb:\n  c: 1\n  c: 2\n") ==
        "a.yaml:4: b.c: given twice, first in line 3");
  CHECK(Read("a: &x 1\nb: *x\n") ==
        "a.yaml:1: anchor &x: anchors are not read");
  CHECK(Read("a: !!str 12\n") ==
        "a.yaml:1: tag tag:yaml.org,2002:str: tags are not read");
  CHECK(Read("a: !!map {b: 1}\n") ==
        "a.yaml:1: tag tag:yaml.org,2002:map: tags are not read");
  CHECK(Read("ports:\n  80: web\n") ==
        "a.yaml:2: the key 80 is not a string: quote it");
  CHECK(Read("true: 1\n") ==
        "a.yaml:1: the key true is not a string: quote it");
  CHECK(Read("~: 1\n") == "a.yaml:1: the key null is not a string: quote it");
  CHECK(Read("? [a]\n: 1\n") ==
        "a.yaml:1: a key is a list or a map, not a string");
}

TEST_CASE("document: refuses text that YAML does not allow", "[document]") {
  CHECK(Read("a: 1\nb: \xff\n") == "a.yaml:2: not UTF-8");
  CHECK(Read("a: \xc0\xaf\n") == "a.yaml:1: not UTF-8");      // overlong
  CHECK(Read("a: \xed\xa0\x80\n") == "a.yaml:1: not UTF-8");  // surrogate
  CHECK(Read("a: \xf4\x90\x80\x80") == "a.yaml:1: not UTF-8");
  CHECK(Read("a: \xe2\x82") == "a.yaml:1: not UTF-8");
  CHECK(Read("a: 1\n\x04\nb: 2\n") == "a.yaml:2: control character 0x04");
  CHECK(Read(std::string("a: \0", 4)) == "a.yaml:1: control character 0x00");
  CHECK(Read("a: 1\nb: [1\n") == "a.yaml:3: end of sequence flow not found");
  CHECK(Read(", a\n") == "a.yaml:1: text that belongs to nothing");
  CHECK(Read("a: b: c\n") == "a.yaml:1: illegal map value");
  CHECK(Read("a:\n\t- b\n").starts_with("a.yaml:2: "));
}

TEST_CASE("document: bounds depth and size", "[document]") {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK(Read(nested(64)) == nested(64) + "\n");
  CHECK(Read(nested(65)) == "a.yaml:1: nested deeper than 64 levels");
  CHECK(Read(nested(100'000)) == "a.yaml:1: nested deeper than 64 levels");
  std::string blocks;
  for (int i = 0; i < 200; ++i) blocks += std::string(i, ' ') + "a:\n";
  CHECK(Read(blocks) == "a.yaml:65: nested deeper than 64 levels");
  CHECK(Read(std::string((16 << 20) + 1, ' ')) == "a.yaml: longer than 16 MiB");
  std::string many = "[1";
  for (int i = 0; i < 1'000'000; ++i) many += ",1";
  CHECK(Read(many + "]") == "a.yaml:1: more than 1000000 fields");
}

TEST_CASE("document: survives any damage to a file", "[document]") {
  const std::string whole =
      "spec:\n  list:\n  - {name: \"web\", port: 443}\n  text: |\n    x\n"
      "  'q': [1, 2.5, ~]\n---\nb: !t &a *a\n";
  for (size_t length = 0; length <= whole.size(); ++length) {
    Read(whole.substr(0, length));  // it ends, and throws nothing
  }
  constexpr std::string_view kLetters = "{}[]:,-&*!|>'\"%@`#? \n\tax0\\";
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = whole;
    for (int i = 0; i < 4; ++i) {
      damaged[random() % damaged.size()] = kLetters[random() % kLetters.size()];
    }
    const auto documents = ParseYaml(damaged, "a.yaml");
    if (!documents.ok()) {
      INFO(damaged);
      CHECK(std::string(Message(documents.status())).starts_with("a.yaml:"));
    }
  }
}

}  // namespace
}  // namespace edged::config
