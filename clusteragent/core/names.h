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
// Of a Service's port: a DNS label. One of digits alone is taken for a number.
bool IsPortName(std::string_view name);

}  // namespace edged::agent
