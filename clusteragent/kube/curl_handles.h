#pragma once

#include <curl/curl.h>
#include <sodium.h>

#include <cstring>
#include <memory>
#include <string>

namespace edged::kube {

struct CloseMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
using MultiHandle = std::unique_ptr<CURLM, CloseMulti>;

struct CloseEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using EasyHandle = std::unique_ptr<CURL, CloseEasy>;

struct CloseUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, CloseUrl>;

// Header lines of a request; one of them may hold a token.
class HeaderList {
 public:
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  ~HeaderList() {
    for (curl_slist* at = list_; at != nullptr; at = at->next) {
      sodium_memzero(at->data, std::strlen(at->data));
    }
    curl_slist_free_all(list_);
  }

  void Add(const std::string& line) {
    if (curl_slist* longer = curl_slist_append(list_, line.c_str())) {
      list_ = longer;
    }
  }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

}  // namespace edged::kube
