#pragma once

// The heap of a daemon that is to stay small.

namespace edged {

// All threads share one heap, whose end goes back to the kernel as soon as it
// is free: glibc gives back nothing of the end of a thread's own heap, where a
// snapshot of 60,000 mappings would leave 20 MB for good. To be called before
// the first thread begins.
void KeepHeapSmall();

// What is free within the heap goes back to the kernel, too: takes milliseconds
// where there are hundreds of megabytes.
void TrimHeap();

}  // namespace edged
