#include "clusteragent/state_folder.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>
#include <sodium.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "clusteragent/core/stable_hash.h"
#include "clusteragent/source/state_json.h"
#include "common/config/document.h"
#include "common/config/fields.h"
#include "common/status.h"

namespace edged::agent {
namespace {

// For the other process that writes; each needs some milliseconds.
constexpr auto kLockPatience = std::chrono::seconds(2);
constexpr std::string_view kIpv6Suffix = " ipv6";

// A random UUID, version 4 (RFC 9562).
std::string MakeUuid() {
  uint8_t bytes[16];
  randombytes_buf(bytes, sizeof bytes);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  std::string text;
  for (size_t i = 0; i < sizeof bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

// Reads the one document of a small file with `read`.
template <typename Value>
absl::StatusOr<Value> ReadYaml(
    const std::string& path,
    const std::function<void(config::Fields&, Value&)>& read) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, path));
  if (documents.size() != 1) {
    return InvalidArgument("{}: holds {} documents, not one", path,
                           documents.size());
  }
  config::Fields root(documents[0], documents[0].root);
  Value value;
  read(root, value);
  RETURN_IF_ERROR(root.Finish());
  return value;
}

// The same for a file with a private key: what is wrong with it is told without
// its content, which messages about a mistake quote.
template <typename Value>
absl::StatusOr<Value> ReadSecretYaml(
    const std::string& path,
    const std::function<void(config::Fields&, Value&)>& read) {
  auto value = ReadYaml<Value>(path, read);
  if (!absl::IsInvalidArgument(value.status())) return value;
  const std::string_view message = Message(value.status());
  std::string where = path;
  if (message.starts_with(path + ":")) {
    const std::string_view rest = message.substr(path.size() + 1);
    const std::string_view line =
        rest.substr(0, rest.find_first_not_of("0123456789"));
    if (!line.empty()) where += fmt::format(":{}", line);
  }
  return absl::DataLossError(fmt::format(
      "{}: damaged; it holds a private key, so it is not shown", where));
}

// Gives a file the first other name that is free, too; that name.
absl::StatusOr<std::string> KeepAside(const std::string& path) {
  std::string aside = path + ".damaged";
  for (int i = 2; link(path.c_str(), aside.c_str()) != 0; ++i) {
    if (errno != EEXIST) return ErrnoStatus(errno, aside);
    aside = fmt::format("{}.damaged.{}", path, i);
  }
  return aside;
}

template <typename Value, typename Parse>
void ReadParsed(config::Fields& fields, std::string_view name, Parse parse,
                Value& value) {
  auto parsed = parse(fields.RequiredString(name));
  if (parsed.ok()) {
    value = *std::move(parsed);
  } else {
    fields.Fail(name, Message(parsed.status()));
  }
}

absl::Status WriteIfOther(const std::string& path, const std::string& text) {
  const auto before = ReadFile(path);
  if (before.ok() && *before == text) return absl::OkStatus();
  return WriteFileAtomically(path, text);
}

// "status/edgenodes/vps-1.json", "status/portbindings/default.web.json". A name
// may have 253 characters, as many as a file with all that belongs to it may
// not.
std::string StatusFile(const ObjectKey& key) {
  constexpr size_t kMost = 200, kDigits = 32;
  const bool is_edge = key.kind == Kind::kEdgeNode;
  std::string name =
      is_edge ? key.name : fmt::format("{}.{}", key.name_space, key.name);
  if (name.size() > kMost) {
    name = fmt::format("{}-{}", name.substr(0, kMost - kDigits - 1),
                       StableHash({key.name_space, key.name}, kDigits));
  }
  return fmt::format("status/{}/{}.json",
                     is_edge ? "edgenodes" : "portbindings", name);
}

}  // namespace

absl::StatusOr<FileLock> StateFolder::LockForAgent() const {
  ASSIGN_OR_RETURN(const std::string warning, MakePrivateFolder(path_));
  if (!warning.empty()) spdlog::warn("{}", warning);
  return FileLock::Take(Path("agent.lock"));
}

absl::StatusOr<ClusterIdentity> StateFolder::Identity() const {
  ASSIGN_OR_RETURN(const FileLock lock, LockRecords());
  const std::string path = Path("cluster.yaml");
  auto identity = ReadSecretYaml<ClusterIdentity>(
      path, [](config::Fields& fields, ClusterIdentity& value) {
        value.uid = fields.RequiredString("clusterUID");
        ReadParsed(fields, "controlPrivateKey", PrivateKey::Parse,
                   value.control_key);
      });
  if (!absl::IsNotFound(identity.status())) return identity;
  const ClusterIdentity made{MakeUuid(), PrivateKey::Generate()};
  RETURN_IF_ERROR(WriteFileAtomically(
      path, fmt::format("# Made by clusteragent. It holds a private key.\n"
                        "clusterUID: \"{}\"\ncontrolPrivateKey: {}\n",
                        made.uid, made.control_key.Reveal())));
  return made;
}

absl::StatusOr<uint64_t> StateFolder::LastEpoch() const {
  const std::string path = Path("epoch");
  const auto text = ReadFile(path);
  uint64_t epoch = 0;
  if (text.ok() && !absl::SimpleAtoi(*text, &epoch)) {
    return FailedPrecondition(
        "{}: holds no number; write one there that no edge has seen yet", path);
  }
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  return epoch;
}

absl::Status StateFolder::SetEpoch(uint64_t epoch) const {
  return WriteFileAtomically(Path("epoch"), fmt::format("{}\n", epoch));
}

absl::StatusOr<FileLock> StateFolder::LockRecords() const {
  RETURN_IF_ERROR(MakeFolders(path_));
  return FileLock::TakeWithin(Path("records.lock"), kLockPatience);
}

absl::StatusOr<Records> StateFolder::LoadRecords() const {
  const std::string path = Path("records.json");
  const auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return Records();
  RETURN_IF_ERROR(text.status());
  auto records = RecordsFromJson(*text);
  RETURN_IF_ERROR(Annotate(records.status(), path));
  return records;
}

absl::StatusOr<Records> StateFolder::UpdateRecords(
    const std::function<Records(const Records&)>& change) const {
  ASSIGN_OR_RETURN(const FileLock lock, LockRecords());
  auto before = LoadRecords();
  if (absl::IsDataLoss(before.status())) {
    const std::string path = Path("records.json");
    ASSIGN_OR_RETURN(const std::string aside, KeepAside(path));
    RETURN_IF_ERROR(RemoveFile(path));
    spdlog::warn("{}; kept as {}, beginning with none",
                 Message(before.status()), aside);
    before = Records();
  }
  RETURN_IF_ERROR(before.status());
  const Records after = change(*before);
  if (after != *before) {
    RETURN_IF_ERROR(WriteFileAtomically(Path("records.json"), ToJson(after)));
  }
  return after;
}

absl::StatusOr<std::optional<IssuedToken>> StateFolder::LoadToken(
    const std::string& edge) const {
  auto token = ReadYaml<IssuedToken>(
      Path("tokens/" + edge + ".yaml"),
      [](config::Fields& fields, IssuedToken& value) {
        value.id = fields.RequiredString("tokenId");
        value.expires = std::chrono::sys_seconds(
            std::chrono::seconds(fields.Int("expires", 0, 0, INT64_MAX)));
        ReadParsed(fields, "edgePublicKey", PublicKey::Parse, value.edge_key);
      });
  if (absl::IsNotFound(token.status())) return std::nullopt;
  RETURN_IF_ERROR(token.status());
  return *token;
}

absl::Status StateFolder::SaveToken(const std::string& edge,
                                    const IssuedToken& token) const {
  return WriteFileAtomically(
      Path("tokens/" + edge + ".yaml"),
      fmt::format("tokenId: \"{}\"\nexpires: {}\nedgePublicKey: {}\n", token.id,
                  token.expires.time_since_epoch().count(),
                  token.edge_key.ToString()));
}

absl::StatusOr<UplinkKey> StateFolder::LoadKey(const std::string& edge) const {
  auto key = ReadSecretYaml<UplinkKey>(
      Path("keys/" + edge + ".yaml"),
      [](config::Fields& fields, UplinkKey& value) {
        ReadParsed(fields, "privateKey", PrivateKey::Parse, value.own);
        ReadParsed(fields, "registeredWith", PublicKey::Parse,
                   value.registered_with);
        value.edge.key = value.registered_with;
        if (fields.Has("edgePublicKey")) {
          ReadParsed(fields, "edgePublicKey", PublicKey::Parse, value.edge.key);
        }
        if (fields.Has("otherEdgePublicKey")) {
          ReadParsed(fields, "otherEdgePublicKey", PublicKey::Parse,
                     value.edge.other.emplace());
        }
      });
  if (!absl::IsNotFound(key.status())) return key;
  const UplinkKey made{PrivateKey::Generate(), PublicKey(), KnownEdgeKeys()};
  RETURN_IF_ERROR(SaveKey(edge, made));
  return made;
}

absl::Status StateFolder::SaveKey(const std::string& edge,
                                  const UplinkKey& key) const {
  std::string text = fmt::format(
      "# Made by clusteragent. It holds a private key.\n"
      "privateKey: {}\nregisteredWith: {}\nedgePublicKey: {}\n",
      key.own.Reveal(), key.registered_with.ToString(),
      key.edge.key.ToString());
  if (key.edge.other) {
    text += fmt::format("otherEdgePublicKey: {}\n", key.edge.other->ToString());
  }
  return WriteFileAtomically(Path("keys/" + edge + ".yaml"), text);
}

absl::StatusOr<std::string> StateFolder::MendKey(const std::string& edge,
                                                 const UplinkKey& key) const {
  ASSIGN_OR_RETURN(std::string aside,
                   KeepAside(Path("keys/" + edge + ".yaml")));
  RETURN_IF_ERROR(SaveKey(edge, key));
  return aside;
}

std::vector<std::string> StateFolder::LoadDevices() const {
  const auto text = ReadFile(Path("devices"));
  if (!text.ok()) return {};
  return absl::StrSplit(*text, '\n', absl::SkipEmpty());
}

absl::Status StateFolder::SaveDevices(
    const std::vector<std::string>& devices) const {
  return WriteFileAtomically(Path("devices"),
                             fmt::format("{}\n", fmt::join(devices, "\n")));
}

std::set<SwitchedLink> StateFolder::LoadSwitchedLinks() const {
  const auto text = ReadFile(Path("switched-links"));
  if (!text.ok()) return {};
  std::set<SwitchedLink> links;
  const std::vector<std::string> lines =
      absl::StrSplit(*text, '\n', absl::SkipEmpty());
  for (std::string_view line : lines) {
    const bool is_ipv6 = line.ends_with(kIpv6Suffix);
    if (is_ipv6) line.remove_suffix(kIpv6Suffix.size());
    links.insert({std::string(line), is_ipv6 ? Family::kIpv6 : Family::kIpv4});
  }
  return links;
}

absl::Status StateFolder::SaveSwitchedLinks(
    const std::set<SwitchedLink>& links) const {
  std::string text;
  for (const SwitchedLink& link : links) {
    text += fmt::format("{}{}\n", link.name,
                        link.family == Family::kIpv6 ? kIpv6Suffix : "");
  }
  return WriteFileAtomically(Path("switched-links"), text);
}

absl::Status StateFolder::SaveErrors(
    const std::vector<std::string>& errors) const {
  return WriteIfOther(Path("errors"),
                      fmt::format("{}\n", fmt::join(errors, "\n")));
}

std::vector<std::string> StateFolder::LoadErrors() const {
  const auto text = ReadFile(Path("errors"));
  if (!text.ok()) return {};
  return absl::StrSplit(*text, '\n', absl::SkipEmpty());
}

absl::Status StateFolder::SaveStatuses(
    const std::vector<ObjectStatus>& statuses) const {
  std::set<std::string> wanted;
  for (const ObjectStatus& status : statuses) {
    wanted.insert(StatusFile(status.object));
    RETURN_IF_ERROR(SaveStatus(status));
  }
  for (const std::string folder : {"status/edgenodes", "status/portbindings"}) {
    const auto names = ListFolder(Path(folder));
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      const std::string file = folder + "/" + name;
      if (!wanted.contains(file)) RETURN_IF_ERROR(RemoveFile(Path(file)));
    }
  }
  return absl::OkStatus();
}

absl::Status StateFolder::SaveStatus(const ObjectStatus& status) const {
  return WriteIfOther(Path(StatusFile(status.object)), ToJson(status));
}

absl::Status StateFolder::RemoveStatus(const ObjectKey& object) const {
  return RemoveFile(Path(StatusFile(object)));
}

absl::StatusOr<std::vector<ObjectStatus>> StateFolder::LoadStatuses() const {
  std::vector<ObjectStatus> statuses;
  for (const std::string folder : {"status/edgenodes", "status/portbindings"}) {
    const auto names = ListFolder(Path(folder));
    if (absl::IsNotFound(names.status())) continue;
    RETURN_IF_ERROR(names.status());
    for (const std::string& name : *names) {
      if (name.starts_with('.')) continue;  // the agent writes it just now
      const auto text = ReadFile(Path(folder + "/" + name));
      if (absl::IsNotFound(text.status())) continue;  // gone meanwhile
      RETURN_IF_ERROR(text.status());
      auto status = StatusFromJson(*text);
      if (!status.ok()) {
        return Annotate(status.status(), Path(folder + "/" + name));
      }
      statuses.push_back(*std::move(status));
    }
  }
  return statuses;
}

}  // namespace edged::agent
