#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace edged::edge {

// Paces the log's lines about clients: of each client the first complaint is
// told, and a minute later how many have followed, so that none hides what
// another one does. Beyond kMostClients the rest is paced as one. Pure.
class Complaints {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr size_t kMostClients = 64;
  static constexpr auto kQuiet = std::chrono::seconds(60);

  // What is to be told now, if anything. `client`: its address; empty: the
  // complaint is about nobody in particular.
  std::optional<std::string> Take(const std::string& client,
                                  const std::string& what, Time now);
  // What has followed, of those whose minute is over; they are forgotten.
  std::vector<std::string> Expire(Time now);
  // When Expire() has to be called; unset: not before the next Take().
  std::optional<Time> next() const;

 private:
  struct Followers {
    Time until;
    size_t count = 0;
  };

  std::map<std::string, Followers> clients_;
  std::optional<Followers> others_;  // for whom there was no room
};

}  // namespace edged::edge
