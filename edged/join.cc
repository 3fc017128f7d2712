#include "edged/join.h"

#include <absl/strings/str_split.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/config/document.h"
#include "common/config/fields.h"
#include "common/files.h"
#include "common/protocol/overlay.h"
#include "common/status.h"

namespace edged::edge {
namespace {

std::string ForgetEpochPath(const std::string& state) {
  return state + "/forget-epoch";
}

std::string UsedTokensPath(const std::string& state) {
  return state + "/used-tokens";
}

std::string KeyPath(const std::string& state) { return state + "/key.yaml"; }

// One token id per line.
absl::StatusOr<std::vector<std::string>> UsedTokens(const std::string& state) {
  const auto text = ReadFile(UsedTokensPath(state));
  if (absl::IsNotFound(text.status())) return std::vector<std::string>();
  RETURN_IF_ERROR(text.status());
  return std::vector<std::string>(
      absl::StrSplit(*text, '\n', absl::SkipEmpty()));
}

absl::Status RememberToken(const std::string& state, const std::string& id) {
  ASSIGN_OR_RETURN(std::vector<std::string> used, UsedTokens(state));
  used.push_back(id);
  return WriteFileAtomically(UsedTokensPath(state),
                             fmt::format("{}\n", fmt::join(used, "\n")));
}

// A JSON string is a YAML one, too, whatever letters it has.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false,
                                   nlohmann::json::error_handler_t::replace);
}

// Reads a text field with `parse` and reports its error at the field.
template <typename Parse, typename Value>
void ReadParsed(config::Fields& fields, std::string_view name, Parse parse,
                Value& value) {
  auto parsed = parse(fields.RequiredString(name));
  if (parsed.ok()) {
    value = *std::move(parsed);
  } else {
    fields.Fail(name, Message(parsed.status()));
  }
}

absl::StatusOr<IpPrefix> ParseNetwork(std::string_view text) {
  ASSIGN_OR_RETURN(const IpPrefix network, IpPrefix::Parse(text));
  RETURN_IF_ERROR(protocol::Overlay::Create(network).status());
  if (network.family() != Family::kIpv4) {
    return InvalidArgument(
        "{} is not an IPv4 network; the one for IPv6 comes from the agent",
        network.ToString());
  }
  return network;
}

}  // namespace

std::string JoinPath(const std::string& state) { return state + "/join.yaml"; }

absl::Status CheckEnrolled(const std::string& state) {
  if (!absl::IsNotFound(ReadFile(JoinPath(state)).status())) {
    return absl::OkStatus();
  }
  return FailedPrecondition("this edge is not enrolled: {} is not there",
                            JoinPath(state));
}

std::string FormatJoin(const Join& join) {
  return fmt::format(
      "# Written by `edged join`. It holds this edge's private key.\n"
      "version: v1\n"
      "tokenId: {}\n"
      "clusterUID: {}\n"
      "edge: {}\n"
      "listenPort: {}\n"
      "network: {}\n"
      "privateKey: {}\n"
      "controlPublicKey: {}\n",
      Quoted(join.token_id), Quoted(join.cluster_uid), Quoted(join.edge),
      join.listen_port, join.network.ToString(), join.private_key.Reveal(),
      join.control_key.ToString());
}

absl::StatusOr<Join> ParseJoin(std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, file));
  if (documents.size() != 1) {
    return InvalidArgument("{}: holds {} documents, not one", file,
                           documents.size());
  }
  if (!documents[0].root.is_object()) {
    // Its text could be the key.
    return InvalidArgument("{}: not an object", documents[0].Where(""));
  }
  config::Fields root(documents[0], documents[0].root);
  if (const std::string version = root.RequiredString("version");
      version != "v1") {
    root.Fail("version", fmt::format("\"{}\" is not v1", version));
  }
  Join join;
  join.token_id = root.RequiredString("tokenId");
  join.cluster_uid = root.String("clusterUID");
  join.edge = root.RequiredString("edge");
  join.listen_port = static_cast<uint16_t>(root.Int("listenPort", 0, 1, 65535));
  if (!root.Has("listenPort")) root.Fail("listenPort", "missing");
  ReadParsed(root, "network", ParseNetwork, join.network);
  ReadParsed(root, "privateKey", PrivateKey::Parse, join.private_key);
  ReadParsed(root, "controlPublicKey", PublicKey::Parse, join.control_key);
  RETURN_IF_ERROR(root.Finish());
  return join;
}

absl::StatusOr<Join> LoadJoin(const std::string& state) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(JoinPath(state)));
  return ParseJoin(text, JoinPath(state));
}

absl::StatusOr<Join> JoinWithToken(const std::string& state,
                                   std::string_view text,
                                   std::chrono::system_clock::time_point now) {
  ASSIGN_OR_RETURN(const protocol::Token token, protocol::DecodeToken(text));
  if (token.expires <= now) {
    return FailedPrecondition(
        "token {}: expired {} s ago; make a new one with `clusteragent token "
        "{}`",
        token.id,
        std::chrono::duration_cast<std::chrono::seconds>(now - token.expires)
            .count(),
        token.edge);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> used, UsedTokens(state));
  if (std::ranges::find(used, token.id) != used.end()) {
    return FailedPrecondition(
        "token {}: was used here before, and a token is good once; make a new "
        "one with `clusteragent token {}`",
        token.id, token.edge);
  }
  const auto enrolled = LoadJoin(state);
  if (enrolled.ok()) {
    return FailedPrecondition(
        "this edge is enrolled already, as {} of cluster {}; `edged reset` "
        "removes that",
        enrolled->edge, enrolled->cluster_uid);
  }
  if (!absl::IsNotFound(enrolled.status())) {
    return FailedPrecondition(
        "this edge may be enrolled already; `edged reset` removes that: {}",
        Message(enrolled.status()));
  }
  const Join join{.token_id = token.id,
                  .cluster_uid = token.cluster_uid,
                  .edge = token.edge,
                  .listen_port = token.listen_port,
                  .network = token.network,
                  .private_key = token.edge_key,
                  .control_key = token.control_key};
  // What the daemon could not read must not use the token up.
  RETURN_IF_ERROR(Annotate(ParseJoin(FormatJoin(join), "join.yaml").status(),
                           "token " + token.id));
  // The id first: a crash between the two writes costs a token, never lets one
  // in twice.
  RETURN_IF_ERROR(RememberToken(state, token.id));
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(state), FormatJoin(join)));
  return join;
}

// ---- the key ----

namespace {

std::string FormatKeys(const std::string& token_id, const OwnKeys& keys) {
  std::string text = fmt::format(
      "# Written by edged. It holds this edge's private key.\n"
      "version: v1\n"
      "tokenId: {}\n"
      "privateKey: {}\n",
      Quoted(token_id), keys.key.Reveal());
  if (keys.phase == OwnKeys::Phase::kInUse) return text;
  text += fmt::format("nextPrivateKey: {}\n", keys.next.Reveal());
  if (keys.phase == OwnKeys::Phase::kSwitching) {
    text +=
        fmt::format("switched: {}\n",
                    std::chrono::floor<std::chrono::milliseconds>(keys.switched)
                        .time_since_epoch()
                        .count());
  }
  return text;
}

// Nothing when the keys are another token's.
absl::StatusOr<std::optional<OwnKeys>> ParseKeys(const std::string& text,
                                                 const std::string& file,
                                                 const std::string& token_id) {
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, file));
  if (documents.size() != 1 || !documents[0].root.is_object()) {
    return InvalidArgument("not one object");
  }
  config::Fields root(documents[0], documents[0].root);
  OwnKeys keys;
  root.RequiredString("version");
  const bool ours = root.RequiredString("tokenId") == token_id;
  ReadParsed(root, "privateKey", PrivateKey::Parse, keys.key);
  if (root.Has("nextPrivateKey")) {
    keys.phase = OwnKeys::Phase::kProposed;
    ReadParsed(root, "nextPrivateKey", PrivateKey::Parse, keys.next);
  }
  if (root.Has("switched")) {
    keys.phase = OwnKeys::Phase::kSwitching;
    keys.switched =
        std::chrono::system_clock::time_point(std::chrono::milliseconds(
            root.Int("switched", 0, 0, INT64_MAX / 1'000'000)));
    if (keys.next.is_zero()) root.Fail("nextPrivateKey", "missing");
  }
  RETURN_IF_ERROR(root.Finish());
  if (!ours) return std::nullopt;
  return keys;
}

}  // namespace

absl::StatusOr<OwnKeys> LoadKeys(const std::string& state, const Join& join) {
  const OwnKeys of_token{.key = join.private_key};
  const std::string path = KeyPath(state);
  const auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return of_token;
  RETURN_IF_ERROR(text.status());
  const auto keys = ParseKeys(*text, path, join.token_id);
  if (!keys.ok()) {
    return FailedPrecondition(
        "{}: damaged; it holds a private key, so it is not shown", path);
  }
  return keys->value_or(of_token);
}

absl::Status SaveKeys(const std::string& state, const Join& join,
                      const OwnKeys& keys) {
  return WriteFileAtomically(KeyPath(state), FormatKeys(join.token_id, keys));
}

// ---- the end ----

absl::Status Leave(const std::string& state) {
  RETURN_IF_ERROR(RemoveFile(JoinPath(state)));
  return RemoveFile(KeyPath(state));
}

absl::Status ForgetOwner(const std::string& state) {
  ASSIGN_OR_RETURN(Join join, LoadJoin(state));
  join.cluster_uid.clear();
  RETURN_IF_ERROR(RequestForgetEpoch(state));
  return WriteFileAtomically(JoinPath(state), FormatJoin(join));
}

absl::Status RequestForgetEpoch(const std::string& state) {
  return WriteFileAtomically(ForgetEpochPath(state), "");
}

bool TakeForgetEpochRequest(const std::string& state) {
  return ReadFile(ForgetEpochPath(state)).ok() &&
         RemoveFile(ForgetEpochPath(state)).ok();
}

}  // namespace edged::edge
