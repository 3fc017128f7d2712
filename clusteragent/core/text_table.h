#pragma once

#include <string>
#include <vector>

namespace edged::agent {

// Rows of cells as aligned columns, two spaces apart; every line starts with
// `indent`, ends with '\n' and has no blanks before that.
std::string AlignColumns(const std::vector<std::vector<std::string>>& rows,
                         std::string_view indent = "");

}  // namespace edged::agent
