// Preloaded into a program, it makes each fsync() take as long as the file that
// $SLOW_FSYNC names says, in milliseconds: a slow disk.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

extern "C" int fsync(int fd) {
  using Fsync = int (*)(int);
  static const auto real = reinterpret_cast<Fsync>(dlsym(RTLD_NEXT, "fsync"));
  const char* const path = std::getenv("SLOW_FSYNC");
  if (std::FILE* const file = path ? std::fopen(path, "re") : nullptr) {
    unsigned milliseconds = 0;
    if (std::fscanf(file, "%u", &milliseconds) == 1) {
      usleep(milliseconds * 1000);
    }
    std::fclose(file);
  }
  return real(fd);
}
