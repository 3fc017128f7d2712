#include "edged/config.h"

#include <charconv>

#include "common/config/document.h"
#include "common/config/fields.h"
#include "common/files.h"
#include "common/status.h"
#include "common/utf8.h"

namespace edged::edge {

absl::StatusOr<ReservedPort> ParseReservedPort(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view number = text.substr(0, slash);
  int port = 0;
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), port);
  const bool whole =
      error == std::errc() && end == number.data() + number.size();
  const std::string_view protocol =
      slash == std::string_view::npos ? "" : text.substr(slash + 1);
  if (!whole || port < 1 || port > 65535 ||
      (protocol != "tcp" && protocol != "udp")) {
    return InvalidArgument("\"{}\" is not PORT/tcp or PORT/udp", Escaped(text));
  }
  return ReservedPort{protocol == "tcp" ? Protocol::kTcp : Protocol::kUdp,
                      static_cast<uint16_t>(port)};
}

std::string ToString(const ReservedPort& port) {
  return fmt::format("{}/{}", port.port, ToString(port.protocol));
}

absl::StatusOr<Config> ParseConfig(std::string_view text,
                                   const std::string& file) {
  ASSIGN_OR_RETURN(const auto documents, config::ParseYaml(text, file));
  Config config;
  if (documents.empty()) return config;
  if (documents.size() > 1) {
    return InvalidArgument("{}: holds {} documents, not one", file,
                           documents.size());
  }
  config::Fields root(documents[0], documents[0].root);
  if (const std::string version = root.RequiredString("version");
      version != "v1") {
    root.Fail("version", fmt::format("\"{}\" is not v1", version));
  }
  const auto choice =
      wireguard::ParseBackendChoice(root.String("wireguard", "auto"));
  if (choice.ok()) {
    config.wireguard = *choice;
  } else {
    root.Fail("wireguard", Message(choice.status()));
  }
  const std::vector<std::string> ports = root.Strings("reservedPorts");
  if (const std::string ownership = root.String("ownership", "guard");
      ownership == "none") {
    config.ownership = Ownership::kNone;
  } else if (ownership != "guard") {
    root.Fail("ownership",
              fmt::format("\"{}\" is not none or guard", ownership));
  }
  config::Fields log = root.Object("log");
  config.log.format = log.String("format", "text");
  config.log.level = log.String("level", "info");
  if (const auto status = CheckLogFormat(config.log.format); !status.ok()) {
    log.Fail("format", Message(status));
  }
  if (const auto status = CheckLogLevel(config.log.level); !status.ok()) {
    log.Fail("level", Message(status));
  }
  config.state = root.String("state", kDefaultState);
  if (!config.state.starts_with('/')) {
    root.Fail("state",
              fmt::format("\"{}\" is not an absolute path", config.state));
  }
  RETURN_IF_ERROR(root.Finish());
  if (!root.Has("reservedPorts")) return config;
  config.reserved_ports.clear();
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto port = ParseReservedPort(ports[i]);
    if (!port.ok()) {
      return Annotate(port.status(),
                      documents[0].Where(config::ItemPath("reservedPorts", i)));
    }
    config.reserved_ports.push_back(*port);
  }
  return config;
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  const auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return Config();
  RETURN_IF_ERROR(text.status());
  return ParseConfig(*text, path);
}

}  // namespace edged::edge
