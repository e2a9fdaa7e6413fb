// A mark in a stream that can be waited for, or asked for the time.
#ifndef MOERT_CUDA_EVENT_H
#define MOERT_CUDA_EVENT_H

#include "cuda/context.h"

#include <utility>

namespace moert::cuda {

// An event; made on the current context.
class Event {
public:
  static Result<Event> make(std::shared_ptr<Context> context, bool isTimed);
  Event(Event &&other) noexcept
      : context(std::move(other.context)),
        handle(std::exchange(other.handle, nullptr)) {}
  Event &operator=(Event &&other) noexcept {
    std::swap(context, other.context);
    std::swap(handle, other.handle);
    return *this;
  }
  ~Event();

  EventHandle get() const { return handle; }

private:
  Event(std::shared_ptr<Context> context, EventHandle handle)
      : context(std::move(context)), handle(handle) {}

  std::shared_ptr<Context> context;
  EventHandle handle;
};

} // namespace moert::cuda

#endif
