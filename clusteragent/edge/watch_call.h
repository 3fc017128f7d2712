#pragma once

#include <cstdint>
#include <memory>

#include "clusteragent/edge/edge_client.h"
#include "clusteragent/edge/edge_stub.h"
#include "clusteragent/edge/grpc_door.h"

namespace edged::agent {

// WatchEvents of one edge. A message is read when the one before is dealt with,
// so an edge that talks without end waits.
std::unique_ptr<EventStream> WatchEdge(EdgeStub& stub,
                                       std::shared_ptr<GrpcDoor> door,
                                       uint32_t recent,
                                       EventListener& listener);

}  // namespace edged::agent
