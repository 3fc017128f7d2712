#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/event_loop.h"
#include "common/secret.h"

// HTTP/1.1 on the loop's own thread.

namespace edged::kube {

// How a server is reached and known; the same for all requests of a client.
struct Transport {
  // Roots that a server's certificate must lead to: PEM text, or a file that
  // is read anew with connections, once a minute at most, or once a second
  // while it does not lead to the server's. Neither: those of the system.
  std::string ca_pem;
  std::string ca_file;
  // Whom we are to the server, by certificate; the same two ways.
  std::string certificate_pem;
  std::string certificate_file;
  Secret key_pem;
  std::string key_file;
  bool verify_server = true;
  // The name in the server's certificate when it is not the host of the URL.
  std::string server_name;
  std::string proxy;  // URL; empty: none, whatever the environment says
};

struct HttpRequest {
  using Duration = std::chrono::milliseconds;

  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Accept: application/json"
  Secret bearer;                     // empty: no Authorization
  std::string body;
  Duration deadline = std::chrono::seconds(30);  // for all of it
  size_t body_limit = 32 << 20;                  // of the answer, in bytes
  // With it, the body of an answer 2xx comes in pieces as they arrive, without
  // any limit, and HttpResponse::body stays empty.
  std::function<void(std::string_view)> on_data;
};

struct HttpResponse {
  int code = 0;
  std::string content_type;
  std::optional<std::chrono::seconds> retry_after;  // if given in seconds
  std::string body;
};

class HttpClient {
 public:
  using RequestId = uint64_t;  // never 0
  using Done = std::function<void(absl::StatusOr<HttpResponse>)>;

  virtual ~HttpClient() = default;

  // `done` is called once, on the loop thread and never before Send returns,
  // with whatever the server answered. Without an answer: DeadlineExceeded;
  // Unavailable (no connection, or it broke); FailedPrecondition (TLS: an
  // operator must act); ResourceExhausted (a longer body than allowed);
  // InvalidArgument (a URL that is none). Messages name host and cause.
  virtual RequestId Send(HttpRequest request, Done done) = 0;
  // Neither on_data nor done is called any more; 0 and unknown ones are fine.
  virtual void Cancel(RequestId request) = 0;
};

// With libcurl. Connections are kept and used again; a peer that is gone is
// noticed within 30 s also while nothing is sent. Callbacks may send, cancel
// and destroy the client. Host names are looked up by a thread of libcurl's.
// Borrows the loop.
absl::StatusOr<std::unique_ptr<HttpClient>> MakeHttpClient(EventLoop& loop,
                                                           Transport transport);

}  // namespace edged::kube
