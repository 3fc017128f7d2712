#include "edged/core/complaints.h"

#include <fmt/format.h>

#include <algorithm>

namespace edged::edge {
namespace {

std::string Followed(size_t count, const std::string& about) {
  return fmt::format("and {} more complaint{}{} within a minute", count,
                     count == 1 ? "" : "s", about);
}

}  // namespace

std::optional<std::string> Complaints::Take(const std::string& client,
                                            const std::string& what, Time now) {
  const auto known = clients_.find(client);
  if (known != clients_.end()) {
    ++known->second.count;
    return std::nullopt;
  }
  const Followers none{.until = now + kQuiet};
  if (clients_.size() < kMostClients) {
    clients_.emplace(client, none);
  } else if (others_) {
    ++others_->count;
    return std::nullopt;
  } else {
    others_ = none;
  }
  return what;
}

std::vector<std::string> Complaints::Expire(Time now) {
  std::vector<std::string> lines;
  std::erase_if(clients_, [&](const auto& entry) {
    const auto& [client, followers] = entry;
    if (followers.until > now) return false;
    if (followers.count > 0) {
      lines.push_back(
          Followed(followers.count, client.empty() ? "" : " about " + client));
    }
    return true;
  });
  if (others_ && others_->until <= now) {
    if (others_->count > 0) {
      lines.push_back(Followed(others_->count, " about others"));
    }
    others_.reset();
  }
  return lines;
}

std::optional<Complaints::Time> Complaints::next() const {
  std::optional<Time> first;
  if (others_) first = others_->until;
  for (const auto& [client, followers] : clients_) {
    if (!first || followers.until < *first) first = followers.until;
  }
  return first;
}

}  // namespace edged::edge
