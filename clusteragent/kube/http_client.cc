#include "clusteragent/kube/http_client.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <array>
#include <deque>
#include <map>
#include <utility>

#include "clusteragent/kube/curl_handles.h"
#include "clusteragent/kube/curl_request.h"
#include "common/status.h"

namespace edged::kube {
namespace {

constexpr size_t kErrorBodyLimit = 1 << 20;
constexpr long kIdleConnections = 16;

class CurlClient final : public HttpClient {
 public:
  CurlClient(EventLoop& loop, Transport transport)
      : loop_(loop), transport_(std::move(transport)) {}
  ~CurlClient() override;

  absl::Status Open();
  RequestId Send(HttpRequest request, Done done) override;
  void Cancel(RequestId request) override;

 private:
  struct Exchange {
    CurlClient* client = nullptr;
    RequestId id = 0;
    HttpRequest request;
    Done done;
    EasyHandle easy;
    HeaderList headers;
    HeaderList connect_to;
    std::array<char, CURL_ERROR_SIZE> detail{};
    HttpResponse response;
    std::string data;  // for on_data, not handed over yet
    bool too_long = false;
    bool scheduled = false;                // in ready_
    std::optional<absl::Status> finished;  // libcurl is through with it
  };

  absl::Status Prepare(Exchange& exchange);
  void Act(curl_socket_t fd, int events);
  void CollectFinished();
  void Finish(Exchange& exchange, absl::Status status);
  void Schedule(Exchange& exchange);
  // Makes the calls that libcurl's own callbacks must not make.
  void Deliver();

  static int OnSocket(CURL*, curl_socket_t fd, int what, void* self, void*);
  static int OnTimer(CURLM*, long milliseconds, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* exchange);
  static size_t OnHeader(char* data, size_t size, size_t count, void* exchange);

  EventLoop& loop_;
  const Transport transport_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
  EventLoop::TimerId timer_ = 0;
  RequestId next_ = 1;
  std::map<RequestId, std::unique_ptr<Exchange>> exchanges_;
  std::deque<RequestId> ready_;  // have something to hand over
  bool delivering_ = false;
  bool will_deliver_ = false;
  bool wrong_roots_ = false;
  MultiHandle multi_;
};

absl::Status CurlClient::Open() {
  static const CURLcode kGlobal = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kGlobal != CURLE_OK) {
    return Internal("libcurl: {}", curl_easy_strerror(kGlobal));
  }
  multi_.reset(curl_multi_init());
  if (!multi_) return Internal("libcurl: no multi handle");
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, OnSocket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, OnTimer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, kIdleConnections);
  return absl::OkStatus();
}

CurlClient::~CurlClient() {
  for (auto& [id, exchange] : exchanges_) {
    if (!exchange->finished) {
      curl_multi_remove_handle(multi_.get(), exchange->easy.get());
    }
  }
  exchanges_.clear();
  multi_.reset();  // still tells of sockets that close
  loop_.Cancel(timer_);
}

HttpClient::RequestId CurlClient::Send(HttpRequest request, Done done) {
  const RequestId id = next_++;
  auto owned = std::make_unique<Exchange>();
  Exchange& exchange = *owned;
  exchange.client = this;
  exchange.id = id;
  exchange.request = std::move(request);
  exchange.done = std::move(done);
  exchanges_[id] = std::move(owned);

  absl::Status status = Prepare(exchange);
  if (status.ok()) {
    const CURLMcode code =
        curl_multi_add_handle(multi_.get(), exchange.easy.get());
    if (code == CURLM_OK) return id;
    status = Internal("libcurl: {}", curl_multi_strerror(code));
  }
  Finish(exchange, std::move(status));
  return id;
}

void CurlClient::Cancel(RequestId request) {
  const auto found = exchanges_.find(request);
  if (found == exchanges_.end()) return;
  if (!found->second->finished) {
    curl_multi_remove_handle(multi_.get(), found->second->easy.get());
  }
  exchanges_.erase(found);
}

absl::Status CurlClient::Prepare(Exchange& exchange) {
  exchange.easy.reset(curl_easy_init());
  CURL* easy = exchange.easy.get();
  if (easy == nullptr) return Internal("libcurl: no easy handle");
  const auto set = [easy](CURLoption option, auto value) {
    curl_easy_setopt(easy, option, value);
  };
  set(CURLOPT_PRIVATE, static_cast<void*>(&exchange));
  set(CURLOPT_ERRORBUFFER, exchange.detail.data());
  set(CURLOPT_WRITEFUNCTION, OnBody);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&exchange));
  set(CURLOPT_HEADERFUNCTION, OnHeader);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&exchange));
  SetRequest(exchange.request, exchange.headers, easy);
  SetTransport(transport_, wrong_roots_, easy);
  return SetServerName(transport_.server_name, exchange.request.url,
                       exchange.connect_to, easy);
}

int CurlClient::OnSocket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  auto& client = *static_cast<CurlClient*>(self);
  client.loop_.Unwatch(fd);
  if (what == CURL_POLL_REMOVE) return 0;
  uint32_t events = 0;
  if (what & CURL_POLL_IN) events |= EPOLLIN;
  if (what & CURL_POLL_OUT) events |= EPOLLOUT;
  const absl::Status watched =
      client.loop_.Watch(fd, events, [&client, fd](uint32_t ready) {
        int bits = 0;
        if (ready & (EPOLLIN | EPOLLHUP)) bits |= CURL_CSELECT_IN;
        if (ready & EPOLLOUT) bits |= CURL_CSELECT_OUT;
        if (ready & EPOLLERR) bits |= CURL_CSELECT_ERR;
        client.Act(fd, bits);
      });
  return watched.ok() ? 0 : -1;
}

int CurlClient::OnTimer(CURLM*, long milliseconds, void* self) {
  auto& client = *static_cast<CurlClient*>(self);
  client.loop_.Cancel(std::exchange(client.timer_, 0));
  if (milliseconds < 0) return 0;
  client.timer_ =
      client.loop_.After(std::chrono::milliseconds(milliseconds), [&client] {
        client.timer_ = 0;
        client.Act(CURL_SOCKET_TIMEOUT, 0);
      });
  return 0;
}

size_t CurlClient::OnBody(char* data, size_t size, size_t count, void* given) {
  auto& exchange = *static_cast<Exchange*>(given);
  const size_t length = size * count;
  if (exchange.request.on_data && exchange.response.code / 100 == 2) {
    exchange.data.append(data, length);
    exchange.client->Schedule(exchange);
    return length;
  }
  const size_t limit = exchange.response.code / 100 == 2
                           ? exchange.request.body_limit
                           : kErrorBodyLimit;
  if (length > limit - exchange.response.body.size()) {
    exchange.too_long = true;
    return 0;
  }
  exchange.response.body.append(data, length);
  return length;
}

size_t CurlClient::OnHeader(char* data, size_t size, size_t count,
                            void* given) {
  auto& exchange = *static_cast<Exchange*>(given);
  long code = 0;
  curl_easy_getinfo(exchange.easy.get(), CURLINFO_RESPONSE_CODE, &code);
  const std::string_view line(data, size * count);
  ReadHeadLine(line, static_cast<int>(code), exchange.response);
  return line.size();
}

void CurlClient::Act(curl_socket_t fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_.get(), fd, events, &running);
  CollectFinished();
  Deliver();
}

void CurlClient::CollectFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;
    Exchange* exchange = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &exchange);
    curl_multi_remove_handle(multi_.get(), easy);  // ends `message`
    if (code == CURLE_OK) wrong_roots_ = false;
    if (code == CURLE_PEER_FAILED_VERIFICATION) wrong_roots_ = true;
    if (exchange->too_long) {
      Finish(*exchange,
             absl::ResourceExhaustedError(fmt::format(
                 "{}: the answer is longer than {} bytes",
                 exchange->request.url, exchange->request.body_limit)));
    } else if (code != CURLE_OK) {
      Finish(*exchange,
             StatusOf(code, exchange->detail.data(), exchange->request.url));
    } else {
      Finish(*exchange, absl::OkStatus());
    }
  }
}

void CurlClient::Finish(Exchange& exchange, absl::Status status) {
  exchange.finished = std::move(status);
  Schedule(exchange);
}

void CurlClient::Schedule(Exchange& exchange) {
  if (!exchange.scheduled) ready_.push_back(exchange.id);
  exchange.scheduled = true;
  if (delivering_ || will_deliver_) return;
  will_deliver_ = true;
  loop_.Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) Deliver();
  });
}

void CurlClient::Deliver() {
  if (delivering_) return;
  will_deliver_ = false;
  delivering_ = true;
  const std::weak_ptr<bool> alive = alive_;
  while (!ready_.empty()) {
    const auto found = exchanges_.find(ready_.front());
    ready_.pop_front();
    if (found == exchanges_.end()) continue;
    Exchange& exchange = *found->second;
    exchange.scheduled = false;
    if (!exchange.data.empty()) {
      if (exchange.finished) Schedule(exchange);  // that comes after
      const std::string data = std::exchange(exchange.data, {});
      const auto call = exchange.request.on_data;  // it may cancel this
      call(data);
      if (alive.expired()) return;
      continue;
    }
    if (!exchange.finished) continue;
    const auto owned = std::move(found->second);
    exchanges_.erase(found);
    if (owned->finished->ok()) {
      owned->done(std::move(owned->response));
    } else {
      owned->done(*owned->finished);
    }
    if (alive.expired()) return;
  }
  delivering_ = false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpClient>> MakeHttpClient(
    EventLoop& loop, Transport transport) {
  auto client = std::make_unique<CurlClient>(loop, std::move(transport));
  RETURN_IF_ERROR(client->Open());
  return client;
}

}  // namespace edged::kube
