#include "clusteragent/source/source_reader.h"

#include <memory>
#include <utility>

namespace edged::agent {

SourceReader::SourceReader(EventLoop& loop, Source& source,
                           std::function<void(Snapshot)> take)
    : loop_(loop),
      source_(source),
      take_(std::make_shared<std::function<void(Snapshot)>>(std::move(take))),
      thread_([this] { Work(); }) {}

SourceReader::~SourceReader() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
  *take_ = nullptr;  // what was posted reaches nobody
}

void SourceReader::ReadSoon() {
  {
    const MutexLock lock(mutex_);
    wanted_ = true;
  }
  wake_.NotifyOne();
}

// False at the end.
bool SourceReader::AwaitWish() {
  const MutexLock lock(mutex_);
  while (!stopping_ && !wanted_) wake_.Wait(mutex_);
  wanted_ = false;
  return !stopping_;
}

void SourceReader::Work() {
  while (AwaitWish()) {
    auto snapshot = std::make_shared<Snapshot>(source_.Read());
    loop_.Post([take = take_, snapshot] {
      if (*take) (*take)(std::move(*snapshot));
    });
  }
}

}  // namespace edged::agent
