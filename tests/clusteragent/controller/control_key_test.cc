#include "clusteragent/controller/control_key.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "common/status.h"

namespace edged::agent {
namespace {

TEST_CASE("control_key: a Secret gives back the key that it was made with",
          "[control_key]") {
  const PrivateKey key = PrivateKey::Generate();
  nlohmann::json secret = ControlSecretJson("edged", key);
  CHECK(ReadControlKey(secret)->Public() == key.Public());

  const std::string wrong =
      "Secret edged/clusteragent: control-key: holds no WireGuard key; delete "
      "the Secret, and the running agent makes a new one";
  secret["data"][kControlKeyEntry] = "c2hvcnQ=";
  CHECK(Message(ReadControlKey(secret).status()) == wrong);
  secret["data"].erase(kControlKeyEntry);
  CHECK(Message(ReadControlKey(secret).status()) == wrong);
}

}  // namespace
}  // namespace edged::agent
