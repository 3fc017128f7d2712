#include "common/table.h"

#include <catch2/catch.hpp>

namespace edged {
namespace {

TEST_CASE("table: aligns columns under upper case headers", "[table]") {
  Table table({"name", "Address", "ready"});
  table.Add({"fra1", "203.0.113.1", "True"});
  table.Add({"amsterdam", "::1", "False"});
  CHECK(table.ToString() ==
        "NAME       ADDRESS      READY\n"
        "fra1       203.0.113.1  True\n"
        "amsterdam  ::1          False\n");
}

TEST_CASE("table: prints the header alone, and empty cells as <none>",
          "[table]") {
  Table table({"name", "reason", "message"});
  CHECK(table.ToString() == "NAME  REASON  MESSAGE\n");
  table.Add({"web", ""});
  CHECK(table.ToString() ==
        "NAME  REASON  MESSAGE\n"
        "web   <none>  <none>\n");
}

TEST_CASE("table: counts letters and keeps a cell on its line", "[table]") {
  Table table({"name", "note"});
  table.Add({"z\xc3\xbcrich", "one\ntwo\tthree\x7f"});
  table.Add({"london", "x"});
  CHECK(table.ToString() ==
        "NAME    NOTE\n"
        "z\xc3\xbcrich  one two three \n"
        "london  x\n");
}

}  // namespace
}  // namespace edged
