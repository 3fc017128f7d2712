#include "edged/system/program_pages.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace edged::edge {
namespace {

// Of the first object, the program itself. Nobody writes to its code, so the
// file has all of it.
int ReleaseCode(dl_phdr_info* object, size_t, void*) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 ||
        (segment.p_flags & PF_W) != 0) {
      continue;
    }
    const uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    const uintptr_t end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 1;  // enough
}

}  // namespace

void ReleaseProgramPages() { dl_iterate_phdr(ReleaseCode, nullptr); }

}  // namespace edged::edge
