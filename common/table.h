#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace edged {

// Rows of text for a person at a terminal, in aligned columns:
//   NAME  ADDRESS      READY
//   fra1  203.0.113.1  True
// The header is printed in upper case, an empty cell as "<none>", a control
// character as a space. Widths count letters (UTF-8), not bytes.
class Table {
 public:
  explicit Table(const std::vector<std::string>& header);

  // Missing cells are empty; a row has no more cells than the header.
  void Add(std::vector<std::string> row);
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the header first
};

}  // namespace edged
