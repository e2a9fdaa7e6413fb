// The few shapes that the charts of a report are made of.
#ifndef MOE_REPORT_SVGCHART_H
#define MOE_REPORT_SVGCHART_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace moe {

/// Text with &, <, > and " made safe for HTML.
std::string escaped(llvm::StringRef text);

/// One colour for each name, in the order in which names are first asked for.
class Palette {
public:
  llvm::StringRef colorOf(llvm::StringRef name);
  /// A line of named boxes.
  void legend(llvm::raw_ostream &out) const;

private:
  std::vector<std::string> names;
};

/// A horizontal bar of named parts, with its label on the left and its sum on
/// the right.
struct StackedBar {
  std::string label, total;
  std::vector<std::pair<std::string, double>> parts;
};
/// `mark`: a value at which a line stands; 0 for none.
void stackedBars(llvm::raw_ostream &out, llvm::ArrayRef<StackedBar> bars,
                 Palette &palette, llvm::StringRef unit, double mark = 0);

/// Lines over a logarithmic x and y.
struct Curve {
  std::string label;
  std::vector<std::pair<double, double>> points;
};
void logLogChart(llvm::raw_ostream &out, llvm::ArrayRef<Curve> curves,
                 Palette &palette, llvm::StringRef xTitle,
                 llvm::StringRef yTitle);

/// Rows of named spans of time.
struct Span {
  int64_t row;
  std::string name, color;
  double start, end;
};
void timelineChart(llvm::raw_ostream &out, llvm::ArrayRef<Span> spans,
                   int64_t rows, Palette &palette);

/// Thin columns, `perColor` next to each other of one colour.
void columns(llvm::raw_ostream &out, llvm::ArrayRef<double> values,
             int64_t perColor);

} // namespace moe
#endif
