// Memory as compiled programs expect it: aligned to 64 bytes, and large buffers
// on pages of 2 MiB where the system gives them.
#ifndef MOERT_ALIGNED_BUFFER_H
#define MOERT_ALIGNED_BUFFER_H

#include "status.h"

#include <cstdlib>
#include <memory>
#include <sys/mman.h>

namespace moert {

class AlignedBuffer {
public:
  AlignedBuffer() = default;
  // Not initialised. A pointer is there for size 0 too. `what` is for the
  // message.
  static Result<AlignedBuffer> allocate(int64_t size, std::string_view what) {
    // Rounding up to large pages wastes less than 1/16 of what is allocated.
    constexpr int64_t largePage = int64_t(2) << 20;
    bool isLarge = size >= 16 * largePage;
    int64_t alignment = isLarge ? largePage : 64;
    AlignedBuffer buffer;
    buffer.bytes = size;
    if (size <= INT64_MAX - alignment) {
      int64_t rounded =
          std::max(alignment, (size + alignment - 1) / alignment * alignment);
      buffer.memory.reset(std::aligned_alloc(static_cast<size_t>(alignment),
                                             static_cast<size_t>(rounded)));
      // Refused, it costs speed alone.
      if (isLarge && buffer.memory)
        (void)::madvise(buffer.memory.get(), static_cast<size_t>(rounded),
                        MADV_HUGEPAGE);
    }
    if (!buffer.memory)
      return Status::error(MOERT_ERROR_OUT_OF_MEMORY, "cannot allocate ", size,
                           " bytes for ", what);
    return buffer;
  }

  void *data() const { return memory.get(); }
  // Hands the memory over; std::free ends it.
  void *release() { return memory.release(); }
  int64_t size() const { return bytes; }

private:
  struct Free {
    void operator()(void *pointer) const { std::free(pointer); }
  };
  std::unique_ptr<void, Free> memory;
  int64_t bytes = 0;
};

} // namespace moert

#endif
