// An op builder for device code: i32 arithmetic, pointers, thread coordinates,
// loops with callbacks.
#ifndef MOE_CODEGEN_DEVICEBUILDER_H
#define MOE_CODEGEN_DEVICEBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace moe {

/// An i32 operand of DeviceBuilder: a value, or a constant to be made.
class Operand {
public:
  template <typename T>
    requires std::convertible_to<T, mlir::Value>
  Operand(T value) : value(value) {}
  template <typename T>
    requires std::is_integral_v<T>
  Operand(T constant) : constant(static_cast<int64_t>(constant)) {}

private:
  friend class DeviceBuilder;
  mlir::Value value;
  int64_t constant = 0;
};

/// Emits arith, scf, llvm and nvvm ops.  Arithmetic is on i32; counts and
/// positions are unsigned.
class DeviceBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  mlir::Value i32(int64_t value);
  mlir::Value i64(uint64_t value);
  mlir::Value f32(float value);
  mlir::Value boolean(bool value);
  mlir::Value get(Operand x) { return x.value ? x.value : i32(x.constant); }

  mlir::Value add(Operand a, Operand b);
  mlir::Value sub(Operand a, Operand b);
  mlir::Value mul(Operand a, Operand b);
  mlir::Value div(Operand a, Operand b); ///< unsigned
  mlir::Value rem(Operand a, Operand b); ///< unsigned
  mlir::Value ceilDiv(Operand a, int64_t b);
  mlir::Value bitAnd(Operand a, Operand b);
  mlir::Value bitOr(Operand a, Operand b);
  mlir::Value bitXor(Operand a, Operand b);
  mlir::Value shl(Operand a, Operand b);
  mlir::Value shr(Operand a, Operand b);  ///< logical
  mlir::Value min(Operand a, Operand b);  ///< signed
  mlir::Value max(Operand a, Operand b);  ///< signed
  mlir::Value less(Operand a, Operand b); ///< signed
  mlir::Value equal(Operand a, Operand b);
  mlir::Value both(mlir::Value a, mlir::Value b); ///< of i1
  mlir::Value select(mlir::Value condition, Operand a, Operand b);
  mlir::Value toFloat(mlir::Value bits); ///< f32 of the same bits
  mlir::Value toBits(mlir::Value f32);

  /// `offset` bytes after a pointer.
  mlir::Value atByte(mlir::Value pointer, Operand offset);
  /// Element `index` of an array of `type`; an i64 index is taken as it is.
  mlir::Value atElement(mlir::Value pointer, mlir::Type type, Operand index);
  /// A plain load; the alignment is the type's own unless given in bytes.
  mlir::Value load(mlir::Type type, mlir::Value pointer,
                   unsigned alignment = 0);
  void store(mlir::Value value, mlir::Value pointer, unsigned alignment = 0);
  mlir::Value toGlobal(mlir::Value pointer);

  mlir::Value threadId();
  mlir::Value blockId();
  mlir::Value gridSize();
  mlir::Value lane() { return bitAnd(threadId(), 31); }
  mlir::Value warpInGroup() { return bitAnd(shr(threadId(), 5), 3); }
  mlir::Value warpgroup() { return shr(threadId(), 7); }
  /// Where the kernel was launched early (programmatic stream serialization):
  /// lets the next one of the stream do the same, and waits until all that came
  /// before is done.  Nothing else may be read or written before it.
  void awaitPredecessors();
  /// The same the other way round: when the next kernel begins, all that came
  /// before this one is done, and may be read without waiting for this one.
  void awaitThenRelease();
  /// For such reads: none sees what the SM's cache holds from before.
  void forgetCached();
  /// Inline assembly with side effects; `result` may be null.
  mlir::Value assembly(mlir::Type result, mlir::ValueRange operands,
                       llvm::StringRef text, llvm::StringRef constraints);
  /// Adds 1 to a word in global memory, gives what was there.  Assembly: the
  /// memory order of llvm.atomicrmw gets lost.  `order` is PTX's word.
  mlir::Value countUp(mlir::Value pointer, llvm::StringRef order);
  /// The value of another lane of the warp: of this one; of that `distance`
  /// below, its own where there is none; of that whose number differs by
  /// exclusive or.
  mlir::Value fromLane(mlir::Value value, Operand lane);
  mlir::Value fromBelow(mlir::Value value, Operand distance);
  mlir::Value exchange(mlir::Value value, Operand distance);
  /// What `combine` makes of the warp's values, in each lane.
  mlir::Value
  reduce(mlir::Value value,
         llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  /// Each value becomes the sum of its own and those of lanes below.  Several
  /// side by side: their shuffles overlap.
  void addFromBelow(llvm::MutableArrayRef<mlir::Value> values);
  /// The value of lane 0, known to be uniform in the warp.
  mlir::Value uniform(mlir::Value value) { return fromLane(value, 0); }

  void ifThen(mlir::Value condition, llvm::function_ref<void()> body);
  void ifElse(mlir::Value condition, llvm::function_ref<void()> body,
              llvm::function_ref<void()> orElse);
  /// The same with values; both give as many, of the same types.
  llvm::SmallVector<mlir::Value>
  choose(mlir::Value condition,
         llvm::function_ref<llvm::SmallVector<mlir::Value>()> body,
         llvm::function_ref<llvm::SmallVector<mlir::Value>()> orElse);
  /// `for (i = lower; i < upper; ++i)` carrying values; `body` returns the next
  /// ones.
  llvm::SmallVector<mlir::Value>
  loop(Operand lower, Operand upper, mlir::ValueRange carried,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value,
                                                         mlir::ValueRange)>
           body);
  /// Of a loop that `loop` has made: LLVM leaves it as it is, however few times
  /// it runs.
  void keepRolled(mlir::Operation *loop);
  /// `condition` gets the carried values, returns whether to go on and what to
  /// pass on (of the same types); `body` gets that and returns the next carried
  /// values.  Returns what was passed on at the end.
  llvm::SmallVector<mlir::Value> loopWhile(
      mlir::ValueRange carried,
      llvm::function_ref<std::pair<mlir::Value, llvm::SmallVector<mlir::Value>>(
          mlir::ValueRange)>
          condition,
      llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange)>
          body);
};

} // namespace moe

#endif
