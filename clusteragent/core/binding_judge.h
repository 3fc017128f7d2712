#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "clusteragent/core/objects.h"
#include "clusteragent/core/validate.h"
#include "clusteragent/core/verdict.h"

namespace edged::agent {

// Judges one binding alone, field by field; the first mistake sticks. Borrows
// the binding.
class BindingJudge {
 public:
  // `path` is where the binding stands: "PortBinding a/b: spec.bindings[0]".
  BindingJudge(const Binding& binding, std::string path)
      : binding_(binding), path_(std::move(path)) {}

  std::variant<ValidBinding, Refusal> Judge();

 private:
  void Refuse(const char* reason, std::string_view field,
              std::string_view message);
  uint16_t Port(std::string_view field, const std::optional<int64_t>& port,
                const char* reason);
  void CheckDuration(std::string_view field,
                     const std::optional<WrittenDuration>& duration,
                     bool whole_seconds);

  void JudgeTimeout(std::string_view field,
                    const std::optional<WrittenDuration>& duration,
                    std::chrono::seconds& timeout);

  void JudgeListener();
  void JudgePublicIp();
  void JudgeTarget();
  void JudgeTargetAddress();
  void JudgeTargetService();
  void JudgeRangeTarget(std::string_view field, std::string_view port);
  void JudgeOptions();
  void JudgeTls();
  void JudgeAccess();
  // Whatever makes sense but cannot be done yet.
  void JudgeFeatures();

  const Binding& binding_;
  std::string path_;
  ValidBinding valid_;
  std::optional<Refusal> refusal_;
};

}  // namespace edged::agent
