#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/netlink/message.h"

// What each *_fuzz.cc gives: one reader of bytes that come from outside, and
// inputs to begin with. Fed by libFuzzer (libfuzzer.cc) with what it invents,
// and by the unit tests (every_byte_test.cc) with the seeds, cut and changed at
// every byte.

namespace edged::fuzz {

using Input = std::span<const uint8_t>;

// Gives `input` to the reader, checks what must hold of any result, and returns
// whether the reader took all of it.
bool Try(Input input);

// Inputs that the reader takes, a few KB at most.
std::vector<std::string> Seeds();

// Ends the process, which both runners count as a failure, unless `holds`.
void Require(bool holds, std::string_view what);

std::string_view AsText(Input input);
std::string AsString(Input input);

// The finished message as a seed; several are concatenated like in a datagram.
std::string Finished(netlink::MessageBuilder message);

}  // namespace edged::fuzz
