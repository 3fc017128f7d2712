#include "common/config/document.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "common/config/scalar.h"
#include "common/status.h"
#include "common/utf8.h"

namespace edged::config {
namespace {

constexpr size_t kMostBytes = 16 << 20;
constexpr size_t kMostDepth = 64;
// Each takes about 200 bytes: 60,000 bindings have half of them.
constexpr size_t kMostFields = 1'000'000;
// Every field keeps its path: under long names, deeply nested, 3 MB of text
// would take 100 GB. Bytes for each byte of text, and for small ones.
constexpr size_t kPathBytes = 16;
constexpr size_t kLeastPathBytes = 1 << 20;

absl::Status MistakeAt(const std::string& file, int line,
                       std::string_view message) {
  return InvalidArgument("{}:{}: {}", file, line, Escaped(message));
}

std::string TooDeep() {
  return fmt::format("nested deeper than {} levels", kMostDepth);
}

// yaml-cpp takes byte 4 for the end of the text and guesses at encodings, so
// what YAML does not allow is refused before it.
absl::Status CheckText(std::string_view text, const std::string& file) {
  if (text.size() > kMostBytes) {
    return InvalidArgument("{}: longer than {} MiB", file, kMostBytes >> 20);
  }
  int line = 1;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) return MistakeAt(file, line, "not UTF-8");
    const auto first = static_cast<uint8_t>(text[0]);
    const bool space = first == '\t' || first == '\n' || first == '\r';
    if ((first < 0x20 && !space) || first == 0x7f) {
      return MistakeAt(file, line,
                       fmt::format("control character {:#04x}", first));
    }
    if (first == '\n') ++line;
    text.remove_prefix(length);
  }
  return absl::OkStatus();
}

// Builds documents from yaml-cpp's events. After the first mistake it lets the
// rest pass.
class Builder : public YAML::EventHandler {
 public:
  Builder(const std::string& file, size_t text_size)
      : file_(file), room_(kPathBytes * text_size + kLeastPathBytes) {}

  absl::StatusOr<std::vector<Document>> Take() && {
    if (!mistake_.ok()) return mistake_;
    return std::move(documents_);
  }

  bool ok() const { return mistake_.ok(); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // On a stray comma yaml-cpp 0.7 begins one document after the other without
    // ever going on.
    if (mark.pos == start_) Mistake(mark, "text that belongs to nothing");
    start_ = mark.pos;
    document_ = Document{.file = file_};
  }
  void OnDocumentEnd() override {
    if (!document_.root.is_null()) documents_.push_back(std::move(document_));
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    Scalar(mark, nullptr);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& text) override {
    if (RefuseTag(mark, tag)) return;
    // "?" marks a plain scalar, "!" a quoted one.
    Scalar(mark, tag == "?" ? TypedScalar(text) : nlohmann::json(text));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t, YAML::EmitterStyle::value) override {
    Open(mark, tag, nlohmann::json::array());
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t, YAML::EmitterStyle::value) override {
    Open(mark, tag, nlohmann::json::object());
  }
  void OnMapEnd() override { Close(); }
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    Mistake(mark, fmt::format("anchor &{}: anchors are not read", name));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Mistake(mark, "an alias: aliases are not read");
  }

 private:
  // A list or map whose end has not come yet.
  struct Container {
    nlohmann::json value;
    std::string path;
    std::optional<std::string> key;  // of a map, when its value comes next
  };

  void Mistake(const YAML::Mark& mark, std::string_view message) {
    if (mistake_.ok()) mistake_ = MistakeAt(file_, mark.line + 1, message);
  }

  bool RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    const bool explicit_tag = !tag.empty() && tag != "?" && tag != "!";
    if (explicit_tag) {
      Mistake(mark, fmt::format("tag {}: tags are not read", tag));
    }
    return explicit_tag;
  }

  bool expects_key() const {
    return !open_.empty() && open_.back().value.is_object() &&
           !open_.back().key;
  }

  void Scalar(const YAML::Mark& mark, nlohmann::json value) {
    if (!mistake_.ok()) return;
    if (expects_key()) {
      Key(mark, value);
      return;
    }
    Begin(mark);
    Add(std::move(value));
  }

  void Key(const YAML::Mark& mark, const nlohmann::json& key) {
    Container& map = open_.back();
    if (!key.is_string()) {
      Mistake(mark,
              fmt::format("the key {} is not a string: quote it", key.dump()));
      return;
    }
    const auto& name = key.get_ref<const std::string&>();
    const std::string path = FieldPath(map.path, name);
    if (map.value.contains(name)) {
      Mistake(mark, fmt::format("{}: given twice, first in line {}", path,
                                document_.lines[path]));
      return;
    }
    NoteLine(mark, path);
    map.key = name;
  }

  // The path of the value that comes next; items of lists get their line here,
  // values of maps got that of their key.
  std::string Begin(const YAML::Mark& mark) {
    if (open_.empty()) {
      NoteLine(mark, "");
      return "";
    }
    const Container& parent = open_.back();
    if (parent.key) return FieldPath(parent.path, *parent.key);
    std::string path = ItemPath(parent.path, parent.value.size());
    NoteLine(mark, path);
    return path;
  }

  void NoteLine(const YAML::Mark& mark, const std::string& path) {
    if (path.size() > room_) {
      Mistake(mark, "the names of its fields are too long");
      return;
    }
    room_ -= path.size();
    if (++fields_ > kMostFields) {
      Mistake(mark, fmt::format("more than {} fields", kMostFields));
      return;
    }
    document_.lines[path] = mark.line + 1;
  }

  void Add(nlohmann::json value) {
    if (open_.empty()) {
      document_.root = std::move(value);
      return;
    }
    Container& parent = open_.back();
    if (parent.key) {
      parent.value[*std::exchange(parent.key, std::nullopt)] = std::move(value);
    } else {
      parent.value.push_back(std::move(value));
    }
  }

  void Open(const YAML::Mark& mark, const std::string& tag,
            nlohmann::json value) {
    if (!mistake_.ok() || RefuseTag(mark, tag)) return;
    if (expects_key()) {
      Mistake(mark, "a key is a list or a map, not a string");
    } else if (open_.size() == kMostDepth) {
      Mistake(mark, TooDeep());
    } else {
      open_.push_back({std::move(value), Begin(mark), std::nullopt});
    }
  }

  void Close() {
    if (!mistake_.ok()) return;
    Container closed = std::move(open_.back());
    open_.pop_back();
    Add(std::move(closed.value));
  }

  const std::string& file_;
  size_t room_;        // for paths of all documents, in bytes
  size_t fields_ = 0;  // of all documents
  absl::Status mistake_;
  Document document_;
  int start_ = -1;  // where it began in the text
  std::vector<Container> open_;
  std::vector<Document> documents_;
};

bool IsPlainName(std::string_view name) {
  return !name.empty() && name.find_first_of(".[]") == std::string_view::npos;
}

// Without its last part; "" for a path of one part.
std::string_view Parent(std::string_view path) {
  if (path.ends_with(']')) return path.substr(0, path.rfind('['));
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? "" : path.substr(0, dot);
}

}  // namespace

std::string FieldPath(std::string_view parent, std::string_view name) {
  if (!IsPlainName(name)) return fmt::format("{}[{}]", parent, name);
  return parent.empty() ? std::string(name)
                        : fmt::format("{}.{}", parent, name);
}

std::string ItemPath(std::string_view parent, size_t index) {
  return fmt::format("{}[{}]", parent, index);
}

std::string Document::Where(const std::string& path) const {
  if (file.empty()) return path;
  auto line = lines.find(path);
  for (std::string_view above = path; line == lines.end() && !above.empty();) {
    above = Parent(above);
    line = lines.find(std::string(above));
  }
  const std::string place =
      line == lines.end() ? file : fmt::format("{}:{}", file, line->second);
  return path.empty() ? place : fmt::format("{}: {}", place, path);
}

absl::StatusOr<std::vector<Document>> ParseYaml(std::string_view text,
                                                const std::string& file) {
  RETURN_IF_ERROR(CheckText(text, file));
  Builder builder(file, text.size());
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (builder.ok() && parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::DeepRecursion& error) {
    return MistakeAt(file, error.mark.line + 1, TooDeep());
  } catch (const YAML::Exception& error) {
    return MistakeAt(file, error.mark.line + 1, error.msg);
  }
  return std::move(builder).Take();
}

Document FromJson(nlohmann::json root) {
  return Document{.root = std::move(root)};
}

}  // namespace edged::config
