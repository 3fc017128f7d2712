#include "clusteragent/edge/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <cstring>
#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "common/socket_address.h"
#include "common/status.h"

namespace edged::agent {

// What the threads share with the resolver, and keep when it is gone.
struct Resolver::Desk {
  const LookUp look_up;

  Mutex mutex;
  Resolver* resolver ABSL_GUARDED_BY(mutex);  // null: gone
  std::deque<std::string> hosts ABSL_GUARDED_BY(mutex);
  size_t threads ABSL_GUARDED_BY(mutex) = 0;
};

Resolver::Resolver(EventLoop& loop, LookUp look_up)
    : loop_(loop), desk_(new Desk{std::move(look_up), {}, this, {}, 0}) {}

Resolver::~Resolver() {
  const MutexLock lock(desk_->mutex);
  desk_->resolver = nullptr;
  desk_->hosts.clear();
}

void Resolver::Resolve(const std::string& host, Done done) {
  if (auto address = IpAddress::Parse(host); address.ok()) {
    loop_.Post([done = std::move(done), address] { done(address); });
    return;
  }
  const QuestionId question = next_question_++;
  const auto [waiting, is_new] = waiting_.try_emplace(host);
  waiting->second.emplace(question, std::move(done));
  loop_.After(kPatience, [desk = desk_, host, question] {
    Resolver* resolver = nullptr;
    {
      const MutexLock lock(desk->mutex);
      resolver = desk->resolver;
    }
    if (resolver) resolver->GiveUp(host, question);
  });
  if (!is_new) return;
  const MutexLock lock(desk_->mutex);
  desk_->hosts.push_back(host);
  if (desk_->threads == kMostThreads) return;
  ++desk_->threads;
  std::thread([desk = desk_] { Work(desk); }).detach();
}

void Resolver::Work(const std::shared_ptr<Desk>& desk) {
  while (true) {
    std::string host;
    {
      const MutexLock lock(desk->mutex);
      if (desk->hosts.empty()) {
        --desk->threads;
        return;
      }
      host = std::move(desk->hosts.front());
      desk->hosts.pop_front();
    }
    const auto address = desk->look_up(host);
    const MutexLock lock(desk->mutex);
    if (!desk->resolver) continue;
    desk->resolver->loop_.Post([desk, host, address] {
      Resolver* resolver = nullptr;
      {
        const MutexLock lock(desk->mutex);
        resolver = desk->resolver;
      }
      if (resolver) resolver->Answer(host, address);
    });
  }
}

void Resolver::Answer(const std::string& host,
                      const absl::StatusOr<IpAddress>& address) {
  const auto waiting = waiting_.extract(host);
  if (waiting.empty()) return;
  for (const auto& [question, done] : waiting.mapped()) done(address);
}

void Resolver::GiveUp(const std::string& host, QuestionId question) {
  const auto waiting = waiting_.find(host);
  if (waiting == waiting_.end()) return;
  const auto found = waiting->second.extract(question);
  if (found.empty()) return;
  found.mapped()(Unavailable(
      "host name {}: no answer after {} s", host,
      std::chrono::duration_cast<std::chrono::seconds>(kPatience).count()));
}

absl::StatusOr<IpAddress> AskSystem(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return Unavailable("host name {}: {}", host, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found,
                                                                 freeaddrinfo);
  sockaddr_storage storage{};
  std::memcpy(&storage, found->ai_addr, found->ai_addrlen);
  ASSIGN_OR_RETURN(const SocketAddress address, FromSockaddr(storage));
  return address.address;
}

}  // namespace edged::agent
