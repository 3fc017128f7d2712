// Load for the rows about traffic, with a thread for each processor: where one
// thread did it all, that thread would be what is measured. Each client prints
// one number at its end.
//   serve BULK_PORT WORD_PORT   a connection to BULK_PORT gets bytes until it
//                               hangs up, one to WORD_PORT one byte for one,
//                               and the end
//   bulk ADDRESS PORT SECONDS   bytes a second that one connection brings
//   connect ADDRESS PORT SECONDS OPEN
//                               connections a second, OPEN at any time, each
//                               from connect() to the server's end
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "common/unique_fd.h"

namespace edged::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr size_t kBlock = 256 << 10;
constexpr int kMostEvents = 256;

[[noreturn]] void Fail(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

sockaddr_in At(const std::string& address, const std::string& port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
  inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  return at;
}

void Want(const UniqueFd& epoll, int operation, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll.get(), operation, fd, &event) != 0) Fail("epoll_ctl");
}

UniqueFd MakeEpoll() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) Fail("epoll_create1");
  return epoll;
}

// ---- the server ----

UniqueFd Listen(const std::string& port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  const sockaddr_in at = At("0.0.0.0", port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      listen(fd.get(), 4096) != 0) {
    Fail("listen on " + port);
  }
  return fd;
}

// Writes what fits; false when the connection is over.
bool Fill(int fd, const std::vector<char>& block) {
  while (send(fd, block.data(), block.size(), MSG_NOSIGNAL) >= 0) {
  }
  return errno == EAGAIN;
}

// Answers a byte with a byte and ends; nothing to read yet is fine.
bool AnswerWord(int fd) {
  char byte;
  const ssize_t size = recv(fd, &byte, 1, 0);
  if (size < 0 && errno == EAGAIN) return true;
  if (size > 0) send(fd, &byte, 1, MSG_NOSIGNAL);
  return false;
}

void AcceptAll(const UniqueFd& epoll, const UniqueFd& listener, bool bulk,
               std::vector<bool>& is_bulk) {
  while (true) {
    const int fd =
        accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    // The byte mostly came with the connection.
    if (!bulk && !AnswerWord(fd)) {
      close(fd);
      continue;
    }
    if (is_bulk.size() <= static_cast<size_t>(fd)) is_bulk.resize(fd + 1);
    is_bulk[static_cast<size_t>(fd)] = bulk;
    Want(epoll, EPOLL_CTL_ADD, fd, bulk ? EPOLLOUT : EPOLLIN);
  }
}

void Serve(const UniqueFd& bulk, const UniqueFd& word) {
  const UniqueFd epoll = MakeEpoll();
  Want(epoll, EPOLL_CTL_ADD, bulk.get(), EPOLLIN);
  Want(epoll, EPOLL_CTL_ADD, word.get(), EPOLLIN);
  const std::vector<char> block(kBlock, 'x');
  std::vector<bool> is_bulk;  // by descriptor
  std::array<epoll_event, kMostEvents> events;
  while (true) {
    const int count = epoll_wait(epoll.get(), events.data(), kMostEvents, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == bulk.get()) {
        AcceptAll(epoll, bulk, true, is_bulk);
      } else if (fd == word.get()) {
        AcceptAll(epoll, word, false, is_bulk);
      } else if (!(is_bulk[static_cast<size_t>(fd)] ? Fill(fd, block)
                                                    : AnswerWord(fd))) {
        close(fd);
      }
    }
  }
}

void ServeInThreads(const std::string& bulk_port,
                    const std::string& word_port) {
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i) {
    threads.emplace_back([bulk = Listen(bulk_port), word = Listen(word_port)] {
      Serve(bulk, word);
    });
  }
  fmt::print("ready\n");
  std::fflush(stdout);
}

// ---- the clients ----

// Nothing that takes longer than this is counted, and a client without an
// answer fails.
constexpr Seconds kPatience(5);

void Bulk(const sockaddr_in& to, Seconds duration) {
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{static_cast<time_t>(kPatience.count()), 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) !=
      0) {
    Fail("connect");
  }
  // The windows open first.
  const auto start = Clock::now() + std::chrono::milliseconds(50);
  const auto end = start + duration;
  uint64_t bytes = 0;
  auto now = Clock::now();
  while (now < end) {
    // MSG_TRUNC: counted, not copied.
    const ssize_t size = recv(fd.get(), nullptr, 4 * kBlock, MSG_TRUNC);
    if (size <= 0) Fail("receive");
    now = Clock::now();
    if (now >= start) bytes += static_cast<uint64_t>(size);
  }
  fmt::print("{:.0f}\n",
             static_cast<double>(bytes) / Seconds(now - start).count());
}

int Open(const UniqueFd& epoll, const sockaddr_in& to) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) Fail("socket");
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS) {
    Fail("connect");
  }
  Want(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
  return fd;
}

// True when the server has ended the connection `fd`.
bool Step(const UniqueFd& epoll, const epoll_event& event) {
  const int fd = event.data.fd;
  if ((event.events & EPOLLERR) != 0) Fail("a connection was refused");
  if ((event.events & EPOLLOUT) != 0) {
    const char byte = 'x';
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) Fail("send");
    Want(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
    return false;
  }
  char bytes[8];
  ssize_t size;
  while ((size = recv(fd, bytes, sizeof bytes, 0)) > 0) {
  }
  if (size < 0 && errno != EAGAIN) Fail("receive");
  return size == 0;
}

// How many connections came to their end.
uint64_t ConnectUntil(const sockaddr_in& to, Clock::time_point end, int open) {
  const UniqueFd epoll = MakeEpoll();
  for (int i = 0; i < open; ++i) Open(epoll, to);
  std::array<epoll_event, kMostEvents> events;
  uint64_t done = 0;
  while (Clock::now() < end) {
    const int count = epoll_wait(epoll.get(), events.data(), kMostEvents,
                                 static_cast<int>(kPatience.count() * 1e3));
    if (count == 0) throw std::runtime_error("no answer");
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (!Step(epoll, event)) continue;
      close(event.data.fd);
      ++done;
      Open(epoll, to);
    }
  }
  return done;
}

void Connect(const sockaddr_in& to, Seconds duration, int open) {
  const int count = static_cast<int>(std::thread::hardware_concurrency());
  const auto start = Clock::now();
  const auto end =
      start + std::chrono::duration_cast<Clock::duration>(duration);
  std::vector<std::future<uint64_t>> threads;
  for (int i = 0; i < count; ++i) {
    threads.push_back(std::async(std::launch::async, ConnectUntil, to, end,
                                 std::max(open / count, 1)));
  }
  uint64_t done = 0;
  for (auto& thread : threads) done += thread.get();
  fmt::print("{:.0f}\n",
             static_cast<double>(done) / Seconds(Clock::now() - start).count());
}

int Main(const std::vector<std::string>& words) {
  if (words.size() == 3 && words[0] == "serve") {
    ServeInThreads(words[1], words[2]);
  } else if (words.size() == 4 && words[0] == "bulk") {
    Bulk(At(words[1], words[2]), Seconds(std::stod(words[3])));
  } else if (words.size() == 5 && words[0] == "connect") {
    Connect(At(words[1], words[2]), Seconds(std::stod(words[3])),
            std::stoi(words[4]));
  } else {
    fmt::print(stderr,
               "usage: bench_load serve BULK_PORT WORD_PORT\n"
               "       bench_load bulk ADDRESS PORT SECONDS\n"
               "       bench_load connect ADDRESS PORT SECONDS OPEN\n");
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace edged::bench

int main(int argc, char** argv) {
  try {
    return edged::bench::Main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_load: {}\n", error.what());
    return 1;
  }
}
