#pragma once

#include <string_view>

// What the Kubernetes API takes for a name.

namespace edged::agent {

inline constexpr std::string_view kDnsLabelRule =
    "1 to 63 of a-z, 0-9 and \"-\", at both ends a letter or digit";
inline constexpr std::string_view kDnsSubdomainRule =
    "labels of a-z, 0-9 and \"-\" with dots between, 253 characters at most";

bool IsDnsLabel(std::string_view name);      // namespaces, Services, bindings
bool IsDnsSubdomain(std::string_view name);  // objects in general; host names
// 1 to 15 characters with a letter among them (RFC 6335, section 5.1).
bool IsPortName(std::string_view name);

}  // namespace edged::agent
