// One function on its way to a device: its weights, tensor maps and memory.
#ifndef MOE_LIB_CONVERSION_MOETOKERNELS_DEVICEFUNCTION_H
#define MOE_LIB_CONVERSION_MOETOKERNELS_DEVICEFUNCTION_H

#include "KernelTable.h"
#include "Tiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "moe/Analysis/TokenBounds.h"
#include "moe/Codegen/PackRows.h"

namespace moe {

/// Elements from one row of a bf16 matrix to the next in the device's memory:
/// rows end on 16 bytes.
int64_t devicePitch(int64_t columns);

/// Rows of e4m3, pairs of which are one element, and the scales of their blocks
/// of 128 columns, [columns / 128][rows].
struct QuantizedRows {
  mlir::Value codes, scales;
};

class DeviceFunction {
public:
  DeviceFunction(mlir::func::FuncOp function, moert::InterfaceOp interface,
                 KernelTable &table, Tiles &tiles);

  /// Arguments of a launch by the names of the kernel's parameters. Integers
  /// are given as index values, tensor maps as the buffers to be mapped.
  using Arguments = llvm::ArrayRef<std::pair<llvm::StringRef, mlir::Value>>;

  /// Launches kernel `number`, whose interface is given. Fails, with a message
  /// at `op`, where a buffer cannot be mapped.
  mlir::LogicalResult launch(mlir::ImplicitLocOpBuilder &b, mlir::Operation *op,
                             const KernelInterface &interface, int32_t number,
                             mlir::Value grid, Arguments arguments);
  /// The same with as many CTAs as a kernel of rows takes for `rows` of them.
  mlir::LogicalResult launchRows(mlir::ImplicitLocOpBuilder &b,
                                 mlir::Operation *op,
                                 const KernelInterface &interface,
                                 int32_t number, mlir::Value rows,
                                 Arguments arguments);

  /// Asks for a weight in a packed form, or as it is. All uses of one weight
  /// must agree. The result is the weight's argument.
  mlir::FailureOr<mlir::Value> packed(mlir::Operation *op, mlir::Value weight,
                                      const PackRowsSpec &form);
  mlir::FailureOr<mlir::Value> unpacked(mlir::Operation *op,
                                        mlir::Value weight);

  /// Memory behind the planned buffers, `bytes` at most.
  mlir::Value scratch(mlir::ImplicitLocOpBuilder &b, TokenBytes bytes,
                      mlir::MemRefType type, mlir::ValueRange sizes = {});
  /// The same, zero before the function first runs.
  mlir::Value zeroedScratch(mlir::ImplicitLocOpBuilder &b, TokenBytes bytes,
                            mlir::MemRefType type, mlir::ValueRange sizes = {});
  /// Room for `rows` rows of `columns` bf16; fails, with a message at `op`,
  /// where their number has no bound.
  mlir::FailureOr<mlir::Value> scratchRows(mlir::ImplicitLocOpBuilder &b,
                                           mlir::Operation *op,
                                           mlir::Value rows, int64_t columns);

  /// Room for `rows` rows of `columns` e4m3, a multiple of 16, and their
  /// scales.
  mlir::FailureOr<QuantizedRows> scratchQuantized(mlir::ImplicitLocOpBuilder &b,
                                                  mlir::Operation *op,
                                                  mlir::Value rows,
                                                  int64_t columns);
  /// The quantised form of a buffer that a kernel has written beside it, or in
  /// its place.
  std::optional<QuantizedRows> quantized(mlir::Value buffer) const;
  void setQuantized(mlir::Value buffer, const QuantizedRows &rows);

  /// Whether a kernel that reads these offsets has been launched: those
  /// launched from here on begin when the offsets are there, even before they
  /// have waited for the kernel before them.
  bool isSettled(mlir::Value offsets) const {
    return settled.contains(offsets);
  }
  void setSettled(mlir::Value offsets) { settled.insert(offsets); }
  /// The buffer that a product has made, where that is the last thing in the
  /// stream, not a copy or a collective: it lets the next kernel begin when all
  /// that came before it is done.
  mlir::Value getLastProduct() const { return lastProduct; }
  void setLastProduct(mlir::Value buffer) { lastProduct = buffer; }

  /// Whether a buffer lies in the arena, so that tensor maps may stand on it.
  bool isInArena(mlir::Value buffer);

  /// Whether the program holds every variant of what it computes, one of which
  /// the caller names.
  bool hasVariants() const { return variants.has_value(); }
  void useVariants() { variants.emplace(); }
  /// The number, an i32, of the variant to launch here; what there is to choose
  /// from stands in `description` (`moert.variants`).
  mlir::Value variant(mlir::ImplicitLocOpBuilder &b,
                      mlir::DictionaryAttr description);
  /// Whether `chosen`, which `variant` gave, is this one.
  static mlir::Value isVariant(mlir::ImplicitLocOpBuilder &b,
                               mlir::Value chosen, int64_t number);

  KernelTable &kernels() { return table; }
  Tiles &tiles() { return choices; }
  int64_t getShares() { return interface.getArena().getShares(); }

  /// Writes the prepare and bind functions, the weights' new types, and what
  /// the interface says of memory.
  mlir::LogicalResult finish();

private:
  struct Weight {
    mlir::BlockArgument argument;
    std::optional<PackRowsSpec> form; // none: as it is, or not asked for yet
    bool asked = false;
    mlir::MemRefType packedType;
  };
  Weight *find(mlir::Operation *op, mlir::Value value);
  mlir::FailureOr<int32_t> slot(mlir::Operation *op, mlir::Value buffer,
                                const KernelParameter &parameter);
  void writePrepare();
  void createBind();

  mlir::func::FuncOp function, bind;
  moert::InterfaceOp interface;
  KernelTable &table;
  Tiles &choices;
  llvm::SmallVector<Weight> weights;
  mlir::BlockArgument arena, maxTokens;
  TokenBytes size; // of the arena so far
  int32_t slots = 0;
  llvm::StringMap<int32_t> slotOf;
  llvm::DenseMap<mlir::Value, QuantizedRows> quantizedForms;
  llvm::DenseSet<mlir::Value> settled;
  mlir::Value lastProduct;
  std::optional<llvm::SmallVector<mlir::Attribute>> variants;
};

} // namespace moe

#endif
