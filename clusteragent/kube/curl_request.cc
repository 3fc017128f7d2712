#include "clusteragent/kube/curl_request.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>

#include "common/status.h"

namespace edged::kube {
namespace {

constexpr long kConnectSeconds = 10;
// Until a silent peer is asked, between questions, how many: 30 s in all.
constexpr int kKeepIdleSeconds = 15, kKeepIntervalSeconds = 5, kKeepCount = 3;
constexpr unsigned kUnackedMilliseconds = 30'000;
// For as long the roots of a file are not read again; the latter while a server
// has a certificate that they do not know.
constexpr long kRootsSeconds = 60, kWrongRootsSeconds = 1;

// The address of a blob must outlive the request: Transport does.
curl_blob Blob(const std::string& text) {
  return {.data = const_cast<char*>(text.data()),
          .len = text.size(),
          .flags = CURL_BLOB_NOCOPY};
}

int SetSocketOptions(void*, curl_socket_t fd, curlsocktype) {
  const auto set = [fd](int level, int name, int value) {
    setsockopt(fd, level, name, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepCount);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUnackedMilliseconds);
  return CURL_SOCKOPT_OK;
}

}  // namespace

void SetRequest(const HttpRequest& request, HeaderList& headers, CURL* easy) {
  const auto set = [easy](CURLoption option, auto value) {
    curl_easy_setopt(easy, option, value);
  };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_NOSIGNAL, 1L);
  // A name server that does not answer holds up a thread, not the loop.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(request.deadline.count()));
  set(CURLOPT_SOCKOPTFUNCTION, SetSocketOptions);
  if (!request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
    headers.Add("Expect:");  // no round trip of 100-continue
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  for (const std::string& header : request.headers) {
    headers.Add(header);
  }
  if (!request.bearer.empty()) {
    headers.Add("Authorization: Bearer " + request.bearer.Reveal());
  }
  set(CURLOPT_HTTPHEADER, headers.get());
}

void SetTransport(const Transport& transport, bool wrong_roots, CURL* easy) {
  const auto set_text = [easy](CURLoption option, const std::string& text) {
    if (!text.empty()) curl_easy_setopt(easy, option, text.c_str());
  };
  const auto set_blob = [easy](CURLoption option, const std::string& text) {
    if (text.empty()) return;
    curl_blob blob = Blob(text);
    curl_easy_setopt(easy, option, &blob);
  };
  set_text(CURLOPT_CAINFO, transport.ca_file);
  set_blob(CURLOPT_CAINFO_BLOB, transport.ca_pem);
  if (!transport.ca_file.empty() || !transport.ca_pem.empty()) {
    // Only these: no folder of the system's beside them.
    curl_easy_setopt(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));
  }
  curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT,
                   wrong_roots ? kWrongRootsSeconds : kRootsSeconds);
  set_text(CURLOPT_SSLCERT, transport.certificate_file);
  set_blob(CURLOPT_SSLCERT_BLOB, transport.certificate_pem);
  set_text(CURLOPT_SSLKEY, transport.key_file);
  set_blob(CURLOPT_SSLKEY_BLOB, transport.key_pem.Reveal());
  if (!transport.verify_server) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  curl_easy_setopt(easy, CURLOPT_PROXY, transport.proxy.c_str());
}

absl::Status SetServerName(const std::string& server_name,
                           const std::string& url, HeaderList& connect_to,
                           CURL* easy) {
  if (server_name.empty()) return absl::OkStatus();
  const UrlHandle named(curl_url());
  char* host = nullptr;
  if (curl_url_set(named.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(named.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    return InvalidArgument("\"{}\" is not a URL", url);
  }
  connect_to.Add(fmt::format("::{}:", host));
  curl_free(host);
  curl_url_set(named.get(), CURLUPART_HOST, server_name.c_str(), 0);
  curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to.get());
  char* whole = nullptr;
  if (curl_url_get(named.get(), CURLUPART_URL, &whole, 0) != CURLUE_OK) {
    return InvalidArgument("\"{}\" is not the name of a server", server_name);
  }
  curl_easy_setopt(easy, CURLOPT_URL, whole);
  curl_free(whole);
  return absl::OkStatus();
}

absl::Status StatusOf(CURLcode code, const char* detail,
                      const std::string& host) {
  const std::string text = fmt::format(
      "{}: {}", host, detail[0] != '\0' ? detail : curl_easy_strerror(code));
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return absl::DeadlineExceededError(text);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return absl::InvalidArgumentError(text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return absl::FailedPreconditionError(text);
    default:
      return absl::UnavailableError(text);
  }
}

void ReadHeadLine(std::string_view line, int code, HttpResponse& response) {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) {
    line.remove_suffix(1);
  }
  if (line.starts_with("HTTP/")) {  // also after a 100-continue
    response = {};
    response.code = code;
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  const auto is = [name](std::string_view wanted) {
    return name.size() == wanted.size() &&
           strncasecmp(name.data(), wanted.data(), name.size()) == 0;
  };
  if (is("content-type")) response.content_type = value;
  if (is("retry-after")) {
    uint32_t seconds = 0;
    const char* end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, seconds);
    if (error == std::errc() && stop == end) {
      response.retry_after = std::chrono::seconds(seconds);
    }
  }
}

}  // namespace edged::kube
