#pragma once

#include <map>
#include <set>
#include <utility>

namespace edged::agent {

// Who uses what, to be found from both sides.
template <typename User, typename Used>
class Uses {
 public:
  // From now on `user` uses these and no others.
  void Set(const User& user, std::set<Used> now) {
    for (const Used& before : Of(user)) {
      if (now.contains(before)) continue;
      const auto users = users_.find(before);
      users->second.erase(user);
      if (users->second.empty()) users_.erase(users);
    }
    for (const Used& used : now) users_[used].insert(user);
    if (now.empty()) {
      used_.erase(user);
    } else {
      used_[user] = std::move(now);
    }
  }

  const std::set<Used>& Of(const User& user) const { return Find(used_, user); }
  const std::set<User>& UsersOf(const Used& used) const {
    return Find(users_, used);
  }
  // All that is used; no set is empty.
  const std::map<Used, std::set<User>>& users() const { return users_; }

 private:
  template <typename Key, typename Value>
  static const Value& Find(const std::map<Key, Value>& map, const Key& key) {
    static const Value kNone;
    const auto found = map.find(key);
    return found == map.end() ? kNone : found->second;
  }

  std::map<User, std::set<Used>> used_;
  std::map<Used, std::set<User>> users_;
};

}  // namespace edged::agent
