#include "clusteragent/kube/resource.h"

#include <fmt/format.h>

namespace edged::kube {
namespace {

std::string PathTo(const Resource& resource, const std::string& name_space) {
  std::string path = resource.group.empty() ? "/api/" + resource.version
                                            : "/apis/" + resource.ApiVersion();
  if (resource.namespaced && !name_space.empty()) {
    path += "/namespaces/" + PercentEncoded(name_space);
  }
  return path + "/" + resource.plural;
}

}  // namespace

std::string Resource::ApiVersion() const {
  return group.empty() ? version : group + "/" + version;
}

std::string ObjectRef::Path() const {
  std::string path = PathTo(resource, name_space) + "/" + PercentEncoded(name);
  if (!subresource.empty()) path += "/" + subresource;
  return path;
}

std::string ObjectRef::ToString() const {
  return fmt::format("{} {}{}{}{}{}", resource.plural, name_space,
                     name_space.empty() ? "" : "/", name,
                     subresource.empty() ? "" : " ", subresource);
}

std::string Collection::Path() const { return PathTo(resource, name_space); }

std::string Collection::ToString() const {
  return name_space.empty()
             ? resource.plural
             : fmt::format("{} in namespace {}", resource.plural, name_space);
}

std::vector<std::string> ScopesOf(const std::vector<std::string>& namespaces) {
  return namespaces.empty() ? std::vector<std::string>{""} : namespaces;
}

std::string PercentEncoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                       c == '_' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace edged::kube
