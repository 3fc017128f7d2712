#include "edged/doctor/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace edged::edge {
namespace {

constexpr size_t kWidth = 88;  // of a line, where its words allow it
// Where the sentences begin: after "warning  nftables.conf  ".
constexpr size_t kIndent = 24;

// `text` in lines that begin with `indent` spaces; the first one does already.
std::string Wrapped(std::string_view text, size_t indent) {
  std::string wrapped;
  size_t column = indent;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (column > indent && column + 1 + word.size() > kWidth) {
      wrapped += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      wrapped += ' ';
      ++column;
    }
    wrapped += word;
    column += word.size();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return wrapped;
}

std::string Summary(const std::vector<Finding>& findings) {
  const auto count = [&findings](Severity severity) {
    return std::ranges::count(findings, severity, &Finding::severity);
  };
  return fmt::format("{} errors, {} warnings, {} notes\n",
                     count(Severity::kError), count(Severity::kWarning),
                     count(Severity::kNote));
}

}  // namespace

std::string ReportText(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<7}  {:<13}  {}\n", ToString(finding.severity),
                        finding.check, Wrapped(finding.what, kIndent));
    const std::string indent(kIndent, ' ');
    if (!finding.means.empty()) {
      text += indent + Wrapped(finding.means, kIndent) + "\n";
    }
    for (const std::string& line : finding.mend) {
      text += fmt::format("{}$ {}\n", indent, line);
    }
  }
  return text + Summary(findings);
}

std::string ReportJson(const std::vector<Finding>& findings) {
  nlohmann::ordered_json report;
  report["worst"] = ToString(WorstOf(findings));
  report["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    nlohmann::ordered_json one;
    one["severity"] = ToString(finding.severity);
    one["check"] = finding.check;
    one["what"] = finding.what;
    one["means"] = finding.means;
    one["mend"] = finding.mend;
    report["findings"].push_back(std::move(one));
  }
  // What others named (a process, a chain) may be no UTF-8.
  return report.dump(2, ' ', false,
                     nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace edged::edge
