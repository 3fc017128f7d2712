#include "clusteragent/edge/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <utility>

#include "common/socket_address.h"
#include "common/status.h"

namespace edged::agent {
namespace {

absl::StatusOr<IpAddress> LookUp(const std::string& host) {
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

}  // namespace

Resolver::Resolver(EventLoop& loop) : loop_(loop) {}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Resolver::Resolve(const std::string& host, Done done) {
  if (auto address = IpAddress::Parse(host); address.ok()) {
    loop_.Post([done = std::move(done), address] { done(address); });
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    questions_.push_back({host, std::move(done)});
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  wake_.notify_one();
}

void Resolver::Work() {
  while (true) {
    Question question;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !questions_.empty(); });
      if (stopping_) return;
      question = std::move(questions_.front());
      questions_.pop_front();
    }
    loop_.Post([done = std::move(question.done),
                address = LookUp(question.host)] { done(address); });
  }
}

}  // namespace edged::agent
