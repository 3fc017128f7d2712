#include "common/background_writer.h"

#include <utility>

namespace edged {

BackgroundWriter::~BackgroundWriter() {
  *alive_ = false;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void BackgroundWriter::Write(Job job, Done done) {
  {
    const std::lock_guard lock(mutex_);
    waiting_ = Task{std::move(job), std::move(done)};
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  changed_.notify_all();
}

absl::Status BackgroundWriter::WriteNow(const Job& job) {
  Discard();
  return job();
}

void BackgroundWriter::Discard() {
  std::unique_lock lock(mutex_);
  waiting_.reset();
  changed_.wait(lock, [this] { return !busy_; });
}

void BackgroundWriter::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || waiting_; });
    if (!waiting_) return;
    Task task = *std::exchange(waiting_, std::nullopt);
    busy_ = true;
    lock.unlock();
    const absl::Status status = task.job();
    task.job = nullptr;
    loop_.Post([alive = alive_, done = std::move(task.done), status] {
      if (*alive) done(status);
    });
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace edged
