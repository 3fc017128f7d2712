#pragma once

#include <curl/curl.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "clusteragent/kube/curl_handles.h"
#include "clusteragent/kube/http_client.h"

// Requests and answers as libcurl has them.

namespace edged::kube {

// What is to be sent, and for how long. `request` and `headers`, which it
// fills, outlive the handle.
void SetRequest(const HttpRequest& request, HeaderList& headers, CURL* easy);

// How the server is reached and known. `transport` outlives the handle. With
// `wrong_roots` a server had a certificate that the roots read last do not
// know.
void SetTransport(const Transport& transport, bool wrong_roots, CURL* easy);

// libcurl takes the name for the certificate from the URL, so the URL gets it,
// and the connection is sent where the URL led. `connect_to`, which it fills,
// outlives the handle. InvalidArgument names what is no URL or name.
absl::Status SetServerName(const std::string& server_name,
                           const std::string& url, HeaderList& connect_to,
                           CURL* easy);

// What came back instead of an answer, as HttpClient::Send() says it.
absl::Status StatusOf(CURLcode code, const char* detail,
                      const std::string& host);

// Takes from one line of an answer's head what HttpResponse has; `code` is that
// of the answer.
void ReadHeadLine(std::string_view line, int code, HttpResponse& response);

}  // namespace edged::kube
