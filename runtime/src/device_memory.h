// Memory of the host or of a device, freed with its owner.
#ifndef MOERT_DEVICE_MEMORY_H
#define MOERT_DEVICE_MEMORY_H

#include <cstdint>
#include <functional>
#include <memory>

namespace moert {

class Memory {
public:
  using Release = std::function<void(void *)>;

  Memory() = default;
  Memory(void *pointer, int64_t size, Release release)
      : memory(pointer, std::move(release)), bytes(size) {}

  // Null only where nothing was allocated.
  void *data() const { return memory.get(); }
  int64_t size() const { return bytes; }

private:
  std::unique_ptr<void, Release> memory{nullptr, [](void *) {}};
  int64_t bytes = 0;
};

} // namespace moert

#endif
