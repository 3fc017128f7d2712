#pragma once

#include <string>

// Why something is not served, in a word for programs and a sentence for
// people.

namespace edged::agent {

namespace reason {
// Judged on one binding or object alone.
inline constexpr char kInvalid[] = "Invalid";  // it cannot be read
inline constexpr char kInvalidName[] = "InvalidName";
inline constexpr char kDuplicateName[] = "DuplicateName";
inline constexpr char kInvalidProtocol[] = "InvalidProtocol";
inline constexpr char kInvalidPort[] = "InvalidPort";
inline constexpr char kInvalidRange[] = "InvalidRange";
inline constexpr char kInvalidPublicIp[] = "InvalidPublicIP";
inline constexpr char kInvalidTarget[] = "InvalidTarget";
inline constexpr char kInvalidClientIp[] = "InvalidClientIP";
inline constexpr char kInvalidOptions[] = "InvalidOptions";
inline constexpr char kInvalidDuration[] = "InvalidDuration";
inline constexpr char kNoBindings[] = "NoBindings";
inline constexpr char kInvalidEdgeNodeRef[] = "InvalidEdgeNodeRef";
inline constexpr char kFeatureNotAvailable[] = "FeatureNotAvailable";
inline constexpr char kServiceTargetsNeedKubernetes[] =
    "ServiceTargetsNeedKubernetes";
// Judged beside other objects and the facts.
inline constexpr char kListenerConflict[] = "ListenerConflict";
inline constexpr char kPortReserved[] = "PortReserved";
inline constexpr char kEdgeFull[] = "EdgeFull";
inline constexpr char kPublicIpNotOnEdge[] = "PublicIPNotOnEdge";
inline constexpr char kEdgeNodeNotFound[] = "EdgeNodeNotFound";
inline constexpr char kEdgeNodeNotReady[] = "EdgeNodeNotReady";
inline constexpr char kNamespaceNotAllowed[] = "NamespaceNotAllowed";
inline constexpr char kPreserveNotPossible[] = "PreserveNotPossible";
inline constexpr char kFamilyMismatch[] = "FamilyMismatch";
inline constexpr char kIpv6NotAvailable[] = "Ipv6NotAvailable";
inline constexpr char kTimeoutsNotAvailable[] = "TimeoutsNotAvailable";
inline constexpr char kIpv6ForwardingOff[] = "Ipv6ForwardingOff";
// A Service as a target.
inline constexpr char kServiceNotFound[] = "ServiceNotFound";
inline constexpr char kTargetDenied[] = "TargetDenied";
inline constexpr char kUnsupportedServiceType[] = "UnsupportedServiceType";
inline constexpr char kTargetPortNotListening[] = "TargetPortNotListening";
// An exposed Service.
inline constexpr char kInvalidAnnotation[] = "InvalidAnnotation";
inline constexpr char kInvalidSourceRanges[] = "InvalidSourceRanges";
inline constexpr char kNoFreePublicIp[] = "NoFreePublicIP";
// Limits and allocation, conditions of an EdgeNode.
inline constexpr char kNetworkOverlap[] = "NetworkOverlap";
inline constexpr char kNoFreeNetwork[] = "NoFreeNetwork";
inline constexpr char kTunnelImmutable[] = "TunnelImmutable";
inline constexpr char kTooManyEdgeNodes[] = "TooManyEdgeNodes";
inline constexpr char kTooManyUplinks[] = "TooManyUplinks";
inline constexpr char kTooManyPublicIps[] = "TooManyPublicIPs";
inline constexpr char kNoPublicIp[] = "NoPublicIP";
inline constexpr char kNoUplink[] = "NoUplink";
// From an edge's life, not from the plan.
inline constexpr char kNotEnrolled[] = "NotEnrolled";
inline constexpr char kTunnelDown[] = "TunnelDown";
inline constexpr char kNotProgrammed[] = "NotProgrammed";
inline constexpr char kRefusedByEdge[] = "RefusedByEdge";
inline constexpr char kNotCarried[] = "NotCarried";
}  // namespace reason

struct Refusal {
  std::string reason;   // one of the words above
  std::string message;  // names object, field and value
  bool operator==(const Refusal&) const = default;
};

}  // namespace edged::agent
