// The builder of a few-rows kernel; its parts stand in several files.
#ifndef MOE_LIB_CODEGEN_FEWROWSBUILDER_H
#define MOE_LIB_CODEGEN_FEWROWSBUILDER_H

#include "FewRowsPlan.h"

#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace moe::fewrows {

/// A step in a warp's sequence of units, those of gate/up first.
struct Cursor {
  mlir::Value index; ///< of the unit in the sequence
  /// With plan.draws, whose number of units nobody knows beforehand: the unit
  /// of gate/up, or -1 - n for the n-th of down.
  mlir::Value unit;
  mlir::Value step;
};

/// What a CTA has to do of one share; of a warp's slot of it, the units.
struct Share {
  /// Of gate/up: the first, how far the next one is, and how many.
  mlir::Value up, upStride, upUnits;
  /// With plan.draws: whether all but the first two are drawn, out of how many.
  mlir::Value drawing, upEnd;
  mlir::Value down, downUnits; ///< the first, and how many
};

class FewRowsBuilder {
public:
  FewRowsBuilder(DeviceBuilder &b, mlir::gpu::GPUModuleOp module,
                 mlir::LLVM::LLVMFuncOp function, const FewRowsSpec &spec)
      : b(b), spec(spec), plan(planFewRows(spec)), function(function),
        i32(b.getI32Type()), f32(b.getF32Type()), bf16(b.getBF16Type()),
        words(mlir::VectorType::get(4, i32)),
        shared(getDynamicShared(b, b.getLoc(), module)) {}

  void build();

private:
  // Words of plan.scalars.
  static constexpr int64_t ticket = 0, listed = 1, verdictAt = 2;
  // Bytes of the state, after tickets and shares that are done, a word each:
  // CTAs that have left, and units that have been drawn.
  static constexpr int64_t leftAt = 8, drawnUnitsAt = 12;
  enum Phase { Up, Down };

  mlir::Value argument(llvm::StringRef name);
  mlir::Value at(int64_t offset, Operand index) {
    return b.atElement(b.atByte(shared, offset), i32, index);
  }
  mlir::Value word(int64_t offset, Operand index) {
    return b.load(i32, at(offset, index));
  }
  mlir::Value floatAt(mlir::Value pointer) { return b.load(f32, pointer); }
  mlir::Value isControl() { return b.equal(thread, 32 * plan.warps); }
  mlir::Value wide(mlir::Value value) {
    return mlir::arith::ExtUIOp::create(b, b.getI64Type(), b.get(value));
  }
  /// Byte `row * pitch + byte` of a global array.
  mlir::Value rowAddress(llvm::StringRef name, mlir::Value row, int64_t pitch,
                         mlir::Value byte);
  mlir::Value addFloat(mlir::Value a, mlir::Value c) {
    return mlir::arith::AddFOp::create(b, a, c);
  }
  mlir::Value mulFloat(mlir::Value a, mlir::Value c) {
    return mlir::arith::MulFOp::create(b, a, c);
  }

  void copyTokens();
  mlir::Value spread(mlir::Value index, mlir::Value all, int64_t unit);
  void copyRows(llvm::StringRef name, mlir::Value live, mlir::Value rows,
                int64_t columns, int64_t pitch, int64_t threads);
  void copyQuantized(llvm::StringRef name, mlir::Value live, mlir::Value rows,
                     int64_t columns, int64_t pitch, int64_t scales,
                     int64_t threads);
  /// Of up to 32 pairs, one to a lane.
  struct Pairs {
    mlir::Value number, inRange, id, weight;
  };
  struct Routing {
    mlir::Value drawn; ///< the ticket's, i64
    llvm::SmallVector<Pairs> pairs;
  };
  Routing askRouting();
  void readRouting(const Routing &asked);
  void listFew(mlir::Value slot);
  void listMany(llvm::ArrayRef<mlir::Value> slots);
  mlir::Value findSlot(mlir::Value id, mlir::Value inRange);
  void mapPairs();

  Share getShare(mlir::Value number);
  llvm::SmallVector<mlir::Value> runShares(mlir::Value first);
  /// Positions: the cursor of what is asked for next, the ring slots that it
  /// goes to and of what is multiplied next.
  static constexpr int64_t positionCount = 5;
  llvm::SmallVector<mlir::Value> prologue(const Share &share, Cursor cursor);
  mlir::Value findUp(const Share &share, mlir::Value index);
  /// The unit of gate/up at a cursor if it is one, else which of down.
  struct CursorPlace {
    mlir::Value isUp, up, down;
  };
  CursorPlace findPlace(const Share &share, Cursor cursor);
  mlir::Value drawUp(const Share &share);
  mlir::Value drawnAt(mlir::Value index);
  void postUp(mlir::Value drawn, mlir::Value index, const Share &share);
  mlir::Value leadsUp();
  mlir::Value drawTicket();
  mlir::Value decide();
  void leave();
  void copyHidden();

  /// What stands beside the weights of a step for this lane.
  mlir::Value scalesAt(mlir::Value ringSlot) {
    return b.atByte(ringAddress(ringSlot),
                    b.add(b.mul(lane, 8), plan.weightBytes));
  }
  /// The block of 128 of K that this lane's rows meet in a step.
  mlir::Value scaleBlock(mlir::Value flatStep, int64_t blocks) {
    mlir::Value block =
        b.add(b.mul(flatStep, plan.block / 128), b.div(slice, 2));
    return b.min(block, blocks - 1);
  }
  /// Where this warp is in a step of a phase: the expert in the list of those
  /// hit, null in the first phase, and how many steps of its rows come before.
  struct StepPlace {
    mlir::Value expert, flat;
  };
  StepPlace locate(Phase phase, mlir::Value step);
  /// The row of h of an expert and a token, 0 where it is not `used`.
  struct HiddenRow {
    mlir::Value pair, used;
  };
  HiddenRow findHidden(mlir::Value expert, mlir::Value token);
  void copyScale(llvm::StringRef name, mlir::Value index, mlir::Value to);
  llvm::SmallVector<mlir::Value> loadUnits(Phase phase, mlir::Value step,
                                           mlir::Value ringSlot);
  mlir::Value stepsOf(Phase phase) {
    return phase == Up ? b.i32(plan.upSteps) : downSteps;
  }
  void issue(const Share &share, Cursor cursor, mlir::Value ringSlot);
  void copyUp(mlir::Value unit, mlir::Value step, mlir::Value ringSlot);
  void copyDown(mlir::Value unit, mlir::Value step, mlir::Value ringSlot);
  void copyWeights(Phase phase, mlir::Value slot, mlir::Value row,
                   mlir::Value column, mlir::Value valid, mlir::Value ringSlot);
  Cursor advance(const Share &share, Cursor cursor);
  mlir::Value nextSlot(mlir::Value slot) {
    mlir::Value next = b.add(slot, 1);
    return b.select(b.equal(next, plan.stages), 0, next);
  }
  mlir::Value ringAddress(mlir::Value slot) {
    mlir::Value index = b.add(b.mul(slot, plan.warps), warp);
    return b.atByte(shared, b.mul(index, plan.stepBytes));
  }

  llvm::SmallVector<mlir::Value> loadOperand(Phase phase, mlir::Value unit,
                                             mlir::Value step);
  mlir::Value loadX(mlir::Value unit, mlir::Value column, int64_t tile);
  mlir::Value loadH(mlir::Value expert, mlir::Value column, int64_t tile);
  llvm::SmallVector<mlir::Value> loadWeights(mlir::Value ringSlot);
  llvm::SmallVector<mlir::Value> multiply(llvm::SmallVector<mlir::Value> sums,
                                          mlir::Value ringSlot,
                                          llvm::ArrayRef<mlir::Value> operand,
                                          llvm::ArrayRef<mlir::Value> units);
  llvm::SmallVector<mlir::Value> operandWords(mlir::Value vector);
  llvm::SmallVector<mlir::Value>
  multiplyStep(llvm::ArrayRef<mlir::Value> rows,
               llvm::ArrayRef<mlir::Value> columns, mlir::ValueRange sums);
  /// The units of one phase; gives the positions after it, as the next does.
  llvm::SmallVector<mlir::Value> consumeUp(const Share &share,
                                           mlir::ValueRange positions);
  llvm::SmallVector<mlir::Value> consumeDown(const Share &share,
                                             mlir::ValueRange positions);
  /// This warp's sums of a unit, and the positions after it.
  struct UnitSums {
    llvm::SmallVector<mlir::Value> sums, positions;
  };
  UnitSums multiplyUnit(Phase phase, const Share &share, mlir::Value unit,
                        mlir::ValueRange positions);
  void finishUnit(Phase phase, mlir::Value unit, mlir::Value parity,
                  llvm::SmallVector<mlir::Value> sums);
  llvm::SmallVector<mlir::Value> sumSlices(llvm::SmallVector<mlir::Value> sums);
  void finishUp(mlir::Value unit, llvm::ArrayRef<mlir::Value> sums);
  void finishDown(mlir::Value unit, llvm::ArrayRef<mlir::Value> sums);
  mlir::Value activate(mlir::Value gate, mlir::Value up);
  mlir::Value addBiases(mlir::Value y, mlir::Value token, mlir::Value column);
  void sleepSometimes(mlir::Value position, int64_t role);

  DeviceBuilder &b;
  const FewRowsSpec &spec;
  FewRowsPlan plan;
  mlir::LLVM::LLVMFuncOp function;
  mlir::Type i32, f32, bf16, words;
  mlir::Value shared;
  mlir::Value thread, lane, warp, tokens, count, downSteps;
  /// Of the lane in a step: line and slice of its row, its first element of K.
  mlir::Value line, slice, firstColumn, quad;
  /// The same of what it copies.
  mlir::Value copiedLine, copiedColumn;
};

} // namespace moe::fewrows

#endif
