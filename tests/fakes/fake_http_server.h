#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/unique_fd.h"

namespace edged {

// A real HTTP/1.1 server on a loopback port, whose answers a test writes as it
// likes, also wrong ones. One thread for each connection.
class FakeHttpServer {
 public:
  struct Request {
    std::string method;
    std::string target;                          // "/api/v1/services?limit=5"
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
    int connection = 0;  // counts from 0

    std::string Path() const { return target.substr(0, target.find('?')); }
    // Decoded; empty when it is absent.
    std::string Query(std::string_view name) const;
  };

  // What a handler answers with; its calls return false when the client, or
  // the server, is gone.
  class Answer {
   public:
    virtual ~Answer() = default;
    virtual bool Send(int code, const std::string& body,
                      const std::vector<std::string>& headers = {}) = 0;
    // A body in pieces; it ends with the handler.
    virtual bool Begin(int code) = 0;
    virtual bool Write(std::string_view piece) = 0;
    virtual void Cut() = 0;  // hangs up at once, in the middle of whatever
    virtual bool Wait(std::chrono::milliseconds time) = 0;
    // Waits until `done`, which another thread may make true.
    virtual bool WaitUntil(const std::function<bool()>& done) = 0;
  };

  // Runs on the connection's thread.
  using Handler = std::function<void(const Request&, Answer&)>;

  struct Tls {
    std::string certificate_file;
    std::string key_file;
    std::string client_ca_file;  // with it, clients must have a certificate
  };

  explicit FakeHttpServer(Handler handler, const Tls* tls = nullptr);
  ~FakeHttpServer();

  std::string Url() const;  // "http://127.0.0.1:12345"
  int port() const { return port_; }
  int connections() const { return connections_; }
  // "GET /api/v1/services", in the order of their arrival.
  std::vector<std::string> Log() const;

  class Stream;  // bytes of one connection

 private:
  void Accept();
  void Serve(int fd, int connection);

  Handler handler_;
  void* tls_ = nullptr;  // SSL_CTX
  UniqueFd listener_;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> log_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace edged
