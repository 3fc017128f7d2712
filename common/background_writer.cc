#include "common/background_writer.h"

#include <utility>

namespace edged {

BackgroundWriter::~BackgroundWriter() {
  *alive_ = false;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void BackgroundWriter::Write(Job job, Done done) {
  {
    const MutexLock lock(mutex_);
    waiting_ = Task{std::move(job), std::move(done)};
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  changed_.NotifyAll();
}

absl::Status BackgroundWriter::WriteNow(const Job& job) {
  Discard();
  return job();
}

void BackgroundWriter::Discard() {
  const MutexLock lock(mutex_);
  waiting_.reset();
  while (busy_) changed_.Wait(mutex_);
}

// The next task; nothing at the end.
std::optional<BackgroundWriter::Task> BackgroundWriter::Take() {
  const MutexLock lock(mutex_);
  while (!stopping_ && !waiting_) changed_.Wait(mutex_);
  busy_ = waiting_.has_value();
  return std::exchange(waiting_, std::nullopt);
}

void BackgroundWriter::Work() {
  while (auto task = Take()) {
    const absl::Status status = task->job();
    task->job = nullptr;
    loop_.Post([alive = alive_, done = std::move(task->done), status] {
      if (*alive) done(status);
    });
    const MutexLock lock(mutex_);
    busy_ = false;
    changed_.NotifyAll();
  }
}

}  // namespace edged
