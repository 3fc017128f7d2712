#pragma once

namespace edged::edge {

// Gives back the pages of this program's code. To be called when the start is
// done: the kernel maps 15 neighbours with each page that is touched, so that
// nearly all 7 MB are resident then, of which an idle daemon uses half a
// megabyte. What is needed again comes back from the page cache.
void ReleaseProgramPages();

}  // namespace edged::edge
