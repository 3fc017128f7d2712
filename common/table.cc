#include "common/table.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace edged {
namespace {

constexpr size_t kGap = 2;

bool ContinuesLetter(char byte) {
  return (static_cast<uint8_t>(byte) & 0xc0) == 0x80;
}

size_t Width(std::string_view text) {
  return text.size() -
         static_cast<size_t>(std::ranges::count_if(text, ContinuesLetter));
}

std::string Cell(std::string text) {
  if (text.empty()) return "<none>";
  std::ranges::replace_if(
      text,
      [](char byte) {
        return static_cast<uint8_t>(byte) < 0x20 || byte == 0x7f;
      },
      ' ');
  return text;
}

}  // namespace

Table::Table(const std::vector<std::string>& header) {
  std::vector<std::string> row = header;
  for (std::string& cell : row) {
    std::ranges::transform(cell, cell.begin(), [](char letter) {
      const bool lower = letter >= 'a' && letter <= 'z';
      return lower ? static_cast<char>(letter - 'a' + 'A') : letter;
    });
  }
  rows_.push_back(std::move(row));
}

void Table::Add(std::vector<std::string> row) {
  row.resize(rows_.front().size());
  std::ranges::transform(row, row.begin(), Cell);
  rows_.push_back(std::move(row));
}

std::string Table::ToString() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      const bool last = i + 1 == row.size();
      text.append(last ? 0 : widths[i] - Width(row[i]) + kGap, ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace edged
