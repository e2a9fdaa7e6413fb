#include "Layouts.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using llvm::divideCeil;

namespace moe::import {

Source stacked(MLIRContext *context, std::string name,
               ArrayRef<int64_t> fileShape, unsigned dims,
               function_ref<Exprs(ArrayRef<AffineExpr>)> map) {
  Exprs index;
  for (unsigned d = 0; d < dims; ++d)
    index.push_back(getAffineDimExpr(d, context));
  Source source;
  source.names = {std::move(name)};
  source.fileShape.assign(fileShape.begin(), fileShape.end());
  source.map = AffineMap::get(dims, 0, map(index), context);
  return source;
}

// The dimensions from `first` on choose an element, those before it a tensor.
static Source trailing(MLIRContext *context, SmallVector<std::string> names,
                       ArrayRef<int64_t> shape, unsigned first) {
  Source source = stacked(context, "", shape.drop_front(first), shape.size(),
                          [&](ArrayRef<AffineExpr> d) {
                            return Exprs(d.drop_front(first).begin(), d.end());
                          });
  source.names = std::move(names);
  return source;
}

Source whole(MLIRContext *context, std::string name, ArrayRef<int64_t> shape) {
  return trailing(context, {std::move(name)}, shape, 0);
}

Source perExpert(MLIRContext *context, std::string name,
                 ArrayRef<int64_t> shape) {
  Source source = trailing(context, {std::move(name)}, shape, 1);
  source.expertDim = 0;
  return source;
}

// One tensor per expert and part: logical [E, P, ...].
static Source perExpertParts(MLIRContext *context,
                             SmallVector<std::string> names,
                             ArrayRef<int64_t> shape) {
  Source source = trailing(context, std::move(names), shape, 2);
  source.expertDim = 0;
  source.partDim = 1;
  return source;
}

// One tensor per part: logical [P, ...].
static Source perPart(MLIRContext *context, SmallVector<std::string> names,
                      ArrayRef<int64_t> shape) {
  Source source = trailing(context, std::move(names), shape, 1);
  source.partDim = 0;
  return source;
}

Weight plainWeight(MLIRContext *context, std::string name,
                   ArrayRef<int64_t> shape, Element element) {
  Weight weight;
  weight.shape.assign(shape.begin(), shape.end());
  weight.element = element;
  weight.sources = {whole(context, std::move(name), shape)};
  return weight;
}

static int64_t fp8Blocks(int64_t size) {
  return divideCeil(size, fp8BlockSize);
}

FeedForward swigluExperts(MLIRContext *context, WeightFormat format,
                          ExpertSizes sizes, const std::string &experts,
                          const std::string &fused, SwigluNames names) {
  auto [e, i, h] = sizes;
  auto layouts = [&](int64_t rows, int64_t columns, Element element,
                     StringRef suffix, bool isFusable) {
    auto named = [&](StringRef name) {
      return (experts + "{e}." + name + suffix).str();
    };
    Weight up, down;
    up.shape = {e, 2, rows, columns};
    down.shape = {e, columns, rows};
    up.element = down.element = element;
    up.sources = {perExpertParts(context, {named(names.gate), named(names.up)},
                                 up.shape)};
    down.sources = {perExpert(context, named(names.down), down.shape)};
    if (isFusable) {
      up.sources.push_back(
          stacked(context, (fused + "gate_up_proj" + suffix).str(),
                  {e, 2 * rows, columns}, 4, [&](ArrayRef<AffineExpr> d) {
                    return Exprs{d[0], d[1] * rows + d[2], d[3]};
                  }));
      down.sources.push_back(
          whole(context, (fused + "down_proj" + suffix).str(), down.shape));
    }
    return std::pair(up, down);
  };
  FeedForward result;
  result.format = format;
  bool isFp8 = format == WeightFormat::Fp8Block;
  // Blocks of a fused tensor belong to one part only where the gate's rows end
  // at a block's edge.
  bool isFusable = !isFp8 || i % fp8BlockSize == 0;
  std::tie(result.up, result.down) =
      layouts(i, h, isFp8 ? Element::F8E4M3 : Element::Program, "", isFusable);
  if (isFp8)
    std::tie(result.upScales, result.downScales) = layouts(
        fp8Blocks(i), fp8Blocks(h), Element::F32, "_scale_inv", isFusable);
  return result;
}

FeedForward swigluShared(MLIRContext *context, WeightFormat format,
                         int64_t width, int64_t hidden,
                         const std::string &prefix) {
  auto layouts = [&](int64_t rows, int64_t columns, Element element,
                     const std::string &suffix) {
    SwigluNames names;
    auto named = [&](StringRef name) { return (prefix + name + suffix).str(); };
    Weight up;
    up.shape = {2, rows, columns};
    up.element = element;
    up.sources = {
        perPart(context, {named(names.gate), named(names.up)}, up.shape)};
    return std::pair(
        up, plainWeight(context, named(names.down), {columns, rows}, element));
  };
  FeedForward result;
  result.format = format;
  bool isFp8 = format == WeightFormat::Fp8Block;
  std::tie(result.up, result.down) =
      layouts(width, hidden, isFp8 ? Element::F8E4M3 : Element::Program, "");
  if (isFp8)
    std::tie(result.upScales, result.downScales) = layouts(
        fp8Blocks(width), fp8Blocks(hidden), Element::F32, "_scale_inv");
  return result;
}

} // namespace moe::import
