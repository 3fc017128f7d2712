#pragma once

#include <string>

#include "clusteragent/core/objects.h"
#include "common/config/document.h"
#include "common/config/fields.h"

// Parts of object_json: the specs of each kind. Mistakes stick in the fields.

namespace edged::agent {

void ReadEdgeNodeSpec(const config::Document& document, config::Fields spec,
                      EdgeNode& node);
void ReadPortBindingSpec(const config::Document& document, config::Fields spec,
                         PortBinding& object);

// `{matchLabels: {...}}`
Selector ReadSelector(config::Fields fields);

// Whether there is a number at `pointer` (RFC 6901), for the few fields that
// are a number or a word.
bool IsNumberAt(const config::Document& document, const std::string& pointer);

}  // namespace edged::agent
