#include "clusteragent/source/manifest_dir.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace edged::agent {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string pattern = fs::temp_directory_path() / "manifests-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { fs::remove_all(path_); }

  const std::string& path() const { return path_; }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name) << text;
  }
  void Remove(const std::string& name) const { fs::remove(path_ + "/" + name); }

 private:
  std::string path_;
};

std::string EdgeText(const std::string& name, const std::string& address) {
  return fmt::format(
      "apiVersion: edged.dev/v1alpha1\nkind: EdgeNode\n"
      "metadata: {{name: {}}}\nspec: {{address: {}}}\n",
      name, address);
}

std::string BindingText(const std::string& name) {
  return fmt::format(
      "apiVersion: edged.dev/v1alpha1\nkind: PortBinding\n"
      "metadata: {{name: {}}}\nspec: {{edgeNodeRef: {{name: vps}}}}\n",
      name);
}

// Every object with the address or edge that tells it apart, then the errors.
std::string Text(const Snapshot& snapshot) {
  std::string text;
  for (const EdgeNode& node : snapshot.world.edge_nodes) {
    text += fmt::format("{} {}\n", node.Key().ToString(), node.address);
  }
  for (const PortBinding& object : snapshot.world.port_bindings) {
    text += object.Key().ToString() + "\n";
  }
  for (const std::string& error : snapshot.errors) text += "! " + error + "\n";
  return text;
}

TEST_CASE("manifest_dir: reads YAML and JSON, several objects a file",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("a.yaml",
               EdgeText("vps", "203.0.113.1") + "---\n" + BindingText("web"));
  folder.Write("b.yml", BindingText("dns"));
  folder.Write("c.json",
               R"({"apiVersion": "edged.dev/v1alpha1", "kind": "EdgeNode",
                   "metadata": {"name": "two"},
                   "spec": {"address": "203.0.113.2"}})");
  folder.Write("notes.txt", "not: [a manifest");
  folder.Write(".#a.yaml", "not: [a manifest");
  folder.Write("empty.yaml", "# nothing\n");
  ManifestDir source(folder.path());
  CHECK(Text(source.Read()) ==
        "EdgeNode vps 203.0.113.1\n"
        "EdgeNode two 203.0.113.2\n"
        "PortBinding default/web\n"
        "PortBinding default/dns\n");
}

TEST_CASE("manifest_dir: a file that breaks keeps its last good version",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("a.yaml", EdgeText("vps", "203.0.113.1"));
  folder.Write("b.yaml", EdgeText("two", "203.0.113.2"));
  ManifestDir source(folder.path());
  source.Read();
  folder.Write("a.yaml", EdgeText("vps", "203.0.113.9") + "oops: 1\n");
  folder.Write("b.yaml", EdgeText("two", "203.0.113.8"));
  folder.Write("c.yaml", "kind: [\n");
  const std::string broken = Text(source.Read());
  CAPTURE(broken);
  CHECK(
      broken.starts_with("EdgeNode vps 203.0.113.1\n"
                         "EdgeNode two 203.0.113.8\n"
                         "! a.yaml:5: oops: "));
  CHECK(broken.find("; its last good version stands\n! c.yaml:") !=
        std::string::npos);
  CHECK(broken.ends_with("; nothing of this file is served\n"));
  folder.Write("a.yaml", EdgeText("vps", "203.0.113.9"));
  folder.Remove("b.yaml");
  folder.Remove("c.yaml");
  CHECK(Text(source.Read()) == "EdgeNode vps 203.0.113.9\n");
}

TEST_CASE("manifest_dir: of an object that stands twice the first serves",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("b.yaml", EdgeText("vps", "203.0.113.2"));
  folder.Write("a.yaml", BindingText("web") + "---\n" +
                             EdgeText("vps", "203.0.113.1") + "---\n" +
                             BindingText("web"));
  ManifestDir source(folder.path());
  CHECK(
      Text(source.Read()) ==
      "EdgeNode vps 203.0.113.1\n"
      "PortBinding default/web\n"
      "! a.yaml:11: PortBinding default/web stands at a.yaml:1 already, which "
      "serves\n"
      "! b.yaml:1: EdgeNode vps stands at a.yaml:6 already, which serves\n");
}

TEST_CASE("manifest_dir: a folder that vanishes takes nothing with it",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("a.yaml", EdgeText("vps", "203.0.113.1"));
  ManifestDir source(folder.path());
  source.Read();
  fs::rename(folder.path(), folder.path() + "-away");
  const Snapshot gone = source.Read();
  CHECK(gone.world.edge_nodes.size() == 1);
  REQUIRE(gone.errors.size() == 1);
  CAPTURE(gone.errors[0]);
  CHECK(gone.errors[0].find(folder.path()) != std::string::npos);
  CHECK(gone.errors[0].ends_with("; what was last read of it stands"));
  fs::rename(folder.path() + "-away", folder.path());
  CHECK(Text(source.Read()) == "EdgeNode vps 203.0.113.1\n");
}

TEST_CASE("manifest_dir: reads files behind symbolic links", "[manifest_dir]") {
  const Folder folder;
  fs::create_directory(folder.path() + "/..data");
  folder.Write("..data/a.yaml", EdgeText("vps", "203.0.113.1"));
  fs::create_symlink("..data/a.yaml", folder.path() + "/a.yaml");
  ManifestDir source(folder.path());
  CHECK(Text(source.Read()) == "EdgeNode vps 203.0.113.1\n");
}

TEST_CASE("manifest_dir: a change is seen, however soon it comes",
          "[manifest_dir]") {
  const Folder folder;
  ManifestDir source(folder.path());
  for (int i = 100; i < 200; ++i) {
    const std::string address = fmt::format("203.0.113.{}", i);
    folder.Write("a.yaml", EdgeText("vps", address));
    CHECK(Text(source.Read()) == "EdgeNode vps " + address + "\n");
  }
}

TEST_CASE("manifest_dir: a file that did not change is not read again",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("a.yaml", EdgeText("vps", "203.0.113.1"));
  folder.Write("b.yaml", "kind: [");
  ManifestDir source(folder.path());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::string before = Text(source.Read());
  const auto bytes_read = [] {
    std::ifstream io("/proc/self/io");
    std::string word;
    uint64_t bytes = 0;
    io >> word >> bytes;
    return bytes;
  };
  const uint64_t own = [&] {
    const uint64_t start = bytes_read();
    return bytes_read() - start;
  }();
  const uint64_t start = bytes_read();
  CHECK(Text(source.Read()) == before);
  CHECK(bytes_read() - start == own);
  folder.Write("a.yaml", EdgeText("vps", "203.0.113.2"));
  CHECK_THAT(Text(source.Read()),
             Catch::StartsWith("EdgeNode vps 203.0.113.2"));
}

TEST_CASE("manifest_dir: what is no file is left alone", "[manifest_dir]") {
  const Folder folder;
  folder.Write("good.yaml", EdgeText("vps", "203.0.113.1"));
  const auto path = [&](const char* name) {
    return folder.path() + "/" + name;
  };
  REQUIRE(mkfifo(path("pipe.yaml").c_str(), 0600) == 0);
  fs::create_directory(path("folder.yaml"));
  fs::create_symlink("pipe.yaml", path("to-pipe.yaml"));
  fs::create_symlink("/dev/zero", path("to-zero.yaml"));
  fs::create_symlink("loop.yaml", path("loop.yaml"));
  fs::create_symlink("nowhere", path("to-nowhere.yaml"));
  fs::create_symlink("good.yaml", path("to-good.yaml"));
  ManifestDir source(folder.path());
  CHECK(Text(source.Read()) ==
        "EdgeNode vps 203.0.113.1\n"
        "! to-good.yaml:1: EdgeNode vps stands at good.yaml:1 already, which "
        "serves\n");
}

TEST_CASE("manifest_dir: names are told without what terminals obey",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("a\nEdgeNode b is fine\x1b[2J.yaml", "kind: [");
  folder.Write("\xff.yaml", "");
  ManifestDir source(folder.path());
  const std::string text = Text(source.Read());
  CHECK_THAT(text,
             Catch::StartsWith("! a\\nEdgeNode b is fine\\u001b[2J.yaml:1: "));
  CHECK_THAT(text, Catch::Contains("! \\ufffd.yaml: is empty"));
}

TEST_CASE("manifest_dir: a flood of files pushes none out that serves",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("z.yaml", EdgeText("vps", "203.0.113.1"));
  ManifestDir source(folder.path());
  CHECK(Text(source.Read()) == "EdgeNode vps 203.0.113.1\n");
  for (size_t i = 0; i < ManifestDir::kMostFiles + 5; ++i) {
    folder.Write(fmt::format("{:05}.yaml", i), "# nothing\n");
  }
  folder.Write("z.yaml", EdgeText("vps", "203.0.113.2"));
  CHECK(Text(source.Read()) ==
        "EdgeNode vps 203.0.113.2\n"
        "! " +
            folder.path() +
            ": holds more than 10000 manifests; 09999.yaml and other new ones "
            "are not read\n");
}

TEST_CASE("manifest_dir: files that are too long are named, others serve",
          "[manifest_dir]") {
  const Folder folder;
  folder.Write("z.yaml", EdgeText("vps", "203.0.113.1"));
  for (const char* name : {"huge.yaml", "long.yaml"}) folder.Write(name, "x");
  // They take no room.
  fs::resize_file(folder.path() + "/huge.yaml", 100'000'000);
  fs::resize_file(folder.path() + "/long.yaml", 20 << 20);
  ManifestDir source(folder.path());
  CHECK(Text(source.Read()) ==
        "EdgeNode vps 203.0.113.1\n"
        "! huge.yaml: with it all manifests are longer than 64 MiB; nothing of "
        "this file is served\n"
        "! long.yaml: longer than 16 MiB; nothing of this file is served\n");
}

}  // namespace
}  // namespace edged::agent
