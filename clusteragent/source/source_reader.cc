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
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  *take_ = nullptr;  // what was posted reaches nobody
}

void SourceReader::ReadSoon() {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  wake_.notify_one();
}

void SourceReader::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || wanted_; });
    if (stopping_) return;
    wanted_ = false;
    lock.unlock();
    auto snapshot = std::make_shared<Snapshot>(source_.Read());
    loop_.Post([take = take_, snapshot] {
      if (*take) (*take)(std::move(*snapshot));
    });
    lock.lock();
  }
}

}  // namespace edged::agent
