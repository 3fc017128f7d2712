#include "edged/core/edge_model.h"

#include <algorithm>

namespace edged::edge {

EdgeModel::EdgeModel(const EdgeModel& other)
    : settings_(other.settings_),
      uplinks_(other.uplinks_),
      groups_(other.groups_),
      numbers_(other.numbers_),
      numbered_(other.numbered_),
      free_numbers_(other.free_numbers_),
      listeners_(other.listeners_),
      digest_(other.digest_) {
  for (const auto& [name, number] : numbers_) {
    numbered_[number].group = &groups_.at(name);
  }
}

const protocol::PublicAddress* EdgeModel::FindPublicAddress(
    const IpAddress& address) const {
  return edge::FindPublicAddress(settings_, address);
}

const protocol::Group* EdgeModel::FindMapping(
    const protocol::Listener& listener) const {
  const uint16_t number = listeners_.Find(listener);
  return number == 0 ? nullptr : numbered_[number].group;
}

const protocol::Group* EdgeModel::FindMappingAt(const IpAddress& public_address,
                                                Protocol protocol,
                                                uint16_t port) const {
  const auto entry = listeners_.At(public_address, protocol, port);
  return entry ? numbered_[entry->number].group : nullptr;
}

void EdgeModel::ForEachMapping(
    const std::function<void(const protocol::Listener&,
                             const protocol::Group&)>& each) const {
  listeners_.ForEach([&](const protocol::Listener& listener, uint16_t number) {
    each(listener, *numbered_[number].group);
  });
}

protocol::EdgeState EdgeModel::ToState() const {
  protocol::EdgeState state{.settings = settings_};
  for (const auto& [name, uplink] : uplinks_) state.uplinks.push_back(uplink);
  for (const auto& [name, group] : groups_) state.groups.push_back(group);
  state.mappings.reserve(mapping_count());
  ForEachMapping(
      [&](const protocol::Listener& listener, const protocol::Group& group) {
        state.mappings.push_back({listener, group.name});
      });
  return state;
}

void EdgeModel::Commit(const protocol::EdgeDelta& accepted) {
  if (accepted.settings) {
    digest_.Remove(settings_);
    settings_ = *accepted.settings;
    digest_.Add(settings_);
  }
  for (const auto& listener : accepted.removed_mappings) {
    RemoveMapping(listener);
  }
  // New groups may need the numbers of those that go, which first lose the
  // mappings that move.
  for (const auto& mapping : accepted.mappings) RemoveMapping(mapping.listener);
  for (const auto& name : accepted.removed_groups) RemoveGroup(name);
  for (const auto& uplink : accepted.uplinks) SetUplink(uplink);
  for (const auto& group : accepted.groups) SetGroup(group);
  for (const auto& mapping : accepted.mappings) AddMapping(mapping);
  for (const auto& name : accepted.removed_uplinks) RemoveUplink(name);
}

void EdgeModel::SetUplink(const protocol::Uplink& uplink) {
  RemoveUplink(uplink.name);
  uplinks_.emplace(uplink.name, uplink);
  digest_.Add(uplink);
}

void EdgeModel::RemoveUplink(const std::string& name) {
  const auto found = uplinks_.find(name);
  if (found == uplinks_.end()) return;
  digest_.Remove(found->second);
  uplinks_.erase(found);
}

void EdgeModel::SetGroup(const protocol::Group& group) {
  const auto [place, is_new] = groups_.try_emplace(group.name, group);
  if (!is_new) {
    digest_.Remove(place->second);
    place->second = group;
  }
  digest_.Add(group);
  if (!is_new) return;

  if (free_numbers_.empty()) {
    free_numbers_.push_back(static_cast<uint16_t>(numbered_.size()));
    numbered_.emplace_back();
  }
  const uint16_t number = free_numbers_.back();
  free_numbers_.pop_back();
  numbered_[number].group = &place->second;  // a map's nodes never move
  numbers_[group.name] = number;
}

void EdgeModel::RemoveGroup(const std::string& name) {
  const auto found = groups_.find(name);
  if (found == groups_.end()) return;
  const auto number = numbers_.find(name);
  numbered_[number->second] = {};
  free_numbers_.push_back(number->second);
  numbers_.erase(number);
  digest_.Remove(found->second);
  groups_.erase(found);
}

void EdgeModel::AddMapping(const protocol::Mapping& mapping) {
  const uint16_t number = numbers_.at(mapping.group);
  listeners_.Set(mapping.listener, number);
  ++numbered_[number].mappings;
  digest_.Add(mapping);
}

void EdgeModel::RemoveMapping(const protocol::Listener& listener) {
  const uint16_t number = listeners_.Find(listener);
  if (number == 0) return;
  listeners_.Erase(listener);
  --numbered_[number].mappings;
  digest_.Remove(protocol::Mapping{listener, numbered_[number].group->name});
}

uint32_t EdgeModel::MappingsOf(const std::string& group) const {
  const auto found = numbers_.find(group);
  return found == numbers_.end() ? 0 : numbered_[found->second].mappings;
}

const protocol::PublicAddress* FindPublicAddress(
    const protocol::Settings& settings, const IpAddress& address) {
  const auto& all = settings.public_addresses;
  const auto found = std::ranges::lower_bound(
      all, address, {}, &protocol::PublicAddress::address);
  return found != all.end() && found->address == address ? &*found : nullptr;
}

}  // namespace edged::edge
