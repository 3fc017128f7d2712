#include "common/heap.h"

#include <malloc.h>

namespace edged {

void KeepHeapSmall() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

void TrimHeap() { malloc_trim(0); }

}  // namespace edged
