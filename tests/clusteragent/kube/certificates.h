#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/common/temporary_folder.h"

namespace edged::kube {

// A certificate authority with a server (127.0.0.1 and api.example) and a
// client, made by the openssl program.
class Certificates {
 public:
  Certificates() {
    Run("openssl ecparam -name prime256v1 -out curve.pem");
    Run("openssl req -x509 -newkey ec:curve.pem -nodes -days 2 -subj /CN=ca "
        "-keyout ca.key -out ca.crt");
    Sign("server", "subjectAltName=IP:127.0.0.1,DNS:api.example");
    Sign("client", "extendedKeyUsage=clientAuth");
    Run("openssl req -x509 -newkey ec:curve.pem -nodes -days 2 -subj /CN=other "
        "-keyout other.key -out other.crt");
  }

  std::string Path(const std::string& name) const {
    return folder_.path() + "/" + name;
  }

 private:
  void Sign(const std::string& name, const std::string& extension) {
    Run("openssl req -newkey ec:curve.pem -nodes -subj /CN=" + name +
        " -keyout " + name + ".key -out " + name + ".csr");
    std::ofstream(Path("extension")) << extension << "\n";
    Run("openssl x509 -req -in " + name +
        ".csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile "
        "extension -out " +
        name + ".crt");
  }

  void Run(const std::string& command) const {
    const std::string line =
        "cd " + folder_.path() + " && " + command + " >/dev/null 2>&1";
    if (std::system(line.c_str()) != 0) std::abort();
  }

  TemporaryFolder folder_;
};

}  // namespace edged::kube
