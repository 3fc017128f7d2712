#include "tests/fakes/fake_http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <optional>

namespace edged {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr int kPollMilliseconds = 5;

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return text;
}

std::string Decoded(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const std::string digits(text.substr(i + 1, 2));
      plain += static_cast<char>(std::strtol(digits.c_str(), nullptr, 16));
      i += 2;
    } else {
      plain += text[i] == '+' ? ' ' : text[i];
    }
  }
  return plain;
}

SSL_CTX* MakeTls(const FakeHttpServer::Tls& tls) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate_file(context, tls.certificate_file.c_str(),
                               SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(context, tls.key_file.c_str(), SSL_FILETYPE_PEM);
  if (!tls.client_ca_file.empty()) {
    SSL_CTX_load_verify_locations(context, tls.client_ca_file.c_str(), nullptr);
    SSL_CTX_set_verify(
        context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

}  // namespace

class FakeHttpServer::Stream {
 public:
  Stream(int fd, SSL_CTX* context, const std::atomic<bool>& stopping)
      : fd_(fd), stopping_(stopping) {
    if (context == nullptr) return;
    tls_ = SSL_new(context);
    SSL_set_fd(tls_, fd);
    if (SSL_accept(tls_) != 1) Cut();
  }
  ~Stream() {
    if (tls_ != nullptr) {
      if (fd_ && !cut_) SSL_shutdown(tls_);
      SSL_free(tls_);
    }
  }

  bool open() const { return !cut_ && !stopping_; }

  void Cut() {
    if (!cut_) shutdown(fd_.get(), SHUT_RDWR);
    cut_ = true;
  }

  // More bytes of the client's into `text`; false at its end.
  bool Read(std::string& text) {
    while (open()) {
      pollfd wait{fd_.get(), POLLIN, 0};
      const bool pending = tls_ != nullptr && SSL_pending(tls_) > 0;
      if (!pending && poll(&wait, 1, kPollMilliseconds) == 0) continue;
      char bytes[16384];
      const auto count = tls_ != nullptr
                             ? SSL_read(tls_, bytes, sizeof bytes)
                             : recv(fd_.get(), bytes, sizeof bytes, 0);
      if (count <= 0) return false;
      text.append(bytes, static_cast<size_t>(count));
      return true;
    }
    return false;
  }

  bool Write(std::string_view text) {
    while (!text.empty() && open()) {
      const auto count =
          tls_ != nullptr
              ? SSL_write(tls_, text.data(), static_cast<int>(text.size()))
              : send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (count <= 0) {
        cut_ = true;
        return false;
      }
      text.remove_prefix(static_cast<size_t>(count));
    }
    return open();
  }

  // The client has hung up.
  bool Gone() {
    pollfd wait{fd_.get(), POLLIN | POLLRDHUP, 0};
    return poll(&wait, 1, 0) > 0 && (wait.revents & (POLLRDHUP | POLLHUP));
  }

 private:
  UniqueFd fd_;
  const std::atomic<bool>& stopping_;
  SSL* tls_ = nullptr;
  bool cut_ = false;
};

namespace {

class StreamAnswer final : public FakeHttpServer::Answer {
 public:
  explicit StreamAnswer(FakeHttpServer::Stream& stream) : stream_(stream) {}

  bool Send(int code, const std::string& body,
            const std::vector<std::string>& headers) override {
    std::string text = "HTTP/1.1 " + std::to_string(code) + " Some words\r\n";
    for (const std::string& header : headers) text += header + "\r\n";
    text += "Content-Type: application/json\r\n";
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    return stream_.Write(text + body);
  }

  bool Begin(int code) override {
    in_pieces_ = true;
    return stream_.Write("HTTP/1.1 " + std::to_string(code) +
                         " Some words\r\nContent-Type: application/json\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n");
  }

  bool Write(std::string_view piece) override {
    if (piece.empty()) return true;
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    return stream_.Write(size + std::string(piece) + "\r\n");
  }

  void End() {
    if (in_pieces_) stream_.Write("0\r\n\r\n");
  }

  void Cut() override { stream_.Cut(); }

  bool Wait(Milliseconds time) override {
    const auto end = std::chrono::steady_clock::now() + time;
    return WaitUntil([end] { return std::chrono::steady_clock::now() >= end; });
  }

  bool WaitUntil(const std::function<bool()>& done) override {
    while (stream_.open() && !stream_.Gone()) {
      if (done()) return true;
      std::this_thread::sleep_for(Milliseconds(1));
    }
    return false;
  }

 private:
  FakeHttpServer::Stream& stream_;
  bool in_pieces_ = false;
};

// Takes the next request off `text`, which grows as needed.
std::optional<FakeHttpServer::Request> ReadRequest(
    FakeHttpServer::Stream& stream, std::string& text) {
  size_t end = 0;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    if (!stream.Read(text)) return std::nullopt;
  }
  FakeHttpServer::Request request;
  std::string_view head = std::string_view(text).substr(0, end + 2);
  const auto next_line = [&head] {
    const size_t at = head.find("\r\n");
    const std::string_view line = head.substr(0, at);
    head.remove_prefix(at + 2);
    return line;
  };
  const std::string_view first = next_line();
  const size_t space = first.find(' ');
  request.method = first.substr(0, space);
  request.target = first.substr(space + 1, first.rfind(' ') - space - 1);
  while (!head.empty()) {
    const std::string_view line = next_line();
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    request.headers[Lower(std::string(line.substr(0, colon)))] =
        line.substr(colon + 2);
  }
  const size_t length =
      static_cast<size_t>(std::atol(request.headers["content-length"].c_str()));
  text.erase(0, end + 4);
  while (text.size() < length) {
    if (!stream.Read(text)) return std::nullopt;
  }
  request.body = text.substr(0, length);
  text.erase(0, length);
  return request;
}

}  // namespace

std::string FakeHttpServer::Request::Query(std::string_view name) const {
  size_t at = target.find('?');
  while (at != std::string::npos) {
    const size_t end = target.find('&', at + 1);
    const std::string_view pair =
        std::string_view(target).substr(at + 1, end - at - 1);
    const size_t equals = pair.find('=');
    if (pair.substr(0, equals) == name && equals != std::string_view::npos) {
      return Decoded(pair.substr(equals + 1));
    }
    at = end;
  }
  return "";
}

FakeHttpServer::FakeHttpServer(Handler handler, const Tls* tls)
    : handler_(std::move(handler)) {
  if (tls != nullptr) tls_ = MakeTls(*tls);
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET,
                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  listen(listener_.get(), 64);
  socklen_t size = sizeof address;
  getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

FakeHttpServer::~FakeHttpServer() {
  stopping_ = true;
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  SSL_CTX_free(static_cast<SSL_CTX*>(tls_));
}

std::string FakeHttpServer::Url() const {
  return (tls_ != nullptr ? "https://127.0.0.1:" : "http://127.0.0.1:") +
         std::to_string(port_);
}

std::vector<std::string> FakeHttpServer::Log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

void FakeHttpServer::Accept() {
  while (!stopping_) {
    pollfd wait{listener_.get(), POLLIN, 0};
    if (poll(&wait, 1, kPollMilliseconds) <= 0) continue;
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    threads_.emplace_back(
        [this, fd, number = connections_++] { Serve(fd, number); });
  }
}

void FakeHttpServer::Serve(int fd, int connection) {
  Stream stream(fd, static_cast<SSL_CTX*>(tls_), stopping_);
  std::string text;
  while (stream.open()) {
    auto request = ReadRequest(stream, text);
    if (!request) return;
    request->connection = connection;
    {
      const std::lock_guard lock(mutex_);
      log_.push_back(request->method + " " + request->target);
    }
    StreamAnswer answer(stream);
    handler_(*request, answer);
    answer.End();
  }
}

}  // namespace edged
