#include "SvgChart.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace moe;
using llvm::formatv;

static constexpr llvm::StringLiteral kColors[] = {
    "#3366aa", "#dd7711", "#449944", "#bb3333", "#8855bb", "#886644",
    "#cc6699", "#667788", "#aaaa22", "#22aabb", "#224488", "#994400",
    "#77bb66", "#ee99aa", "#555533", "#99bbee"};

std::string moe::escaped(llvm::StringRef text) {
  std::string safe;
  for (char c : text)
    safe += c == '&'   ? std::string("&amp;")
            : c == '<' ? std::string("&lt;")
            : c == '>' ? std::string("&gt;")
            : c == '"' ? std::string("&quot;")
                       : std::string(1, c);
  return safe;
}

llvm::StringRef Palette::colorOf(llvm::StringRef name) {
  auto found = llvm::find(names, name);
  size_t index = found - names.begin();
  if (found == names.end())
    names.push_back(name.str());
  return kColors[index % std::size(kColors)];
}

void Palette::legend(llvm::raw_ostream &out) const {
  out << "<p class=\"legend\">";
  for (auto [index, name] : llvm::enumerate(names))
    out << formatv("<span><i style=\"background:{0}\"></i>{1}</span> ",
                   kColors[index % std::size(kColors)], escaped(name));
  out << "</p>\n";
}

static void open(llvm::raw_ostream &out, double width, double height) {
  out << formatv("<svg viewBox=\"0 0 {0:F0} {1:F0}\" width=\"{0:F0}\" "
                 "height=\"{1:F0}\" role=\"img\">\n",
                 width, height);
}

static void text(llvm::raw_ostream &out, double x, double y,
                 llvm::StringRef anchor, llvm::StringRef what) {
  out << formatv("<text x=\"{0:F1}\" y=\"{1:F1}\" text-anchor=\"{2}\">{3}"
                 "</text>\n",
                 x, y, anchor, escaped(what));
}

static void box(llvm::raw_ostream &out, double x, double y, double width,
                double height, llvm::StringRef color, llvm::StringRef title) {
  out << formatv("<rect x=\"{0:F2}\" y=\"{1:F2}\" width=\"{2:F2}\" "
                 "height=\"{3:F2}\" fill=\"{4}\"><title>{5}</title></rect>\n",
                 x, y, width, height, color, escaped(title));
}

void moe::stackedBars(llvm::raw_ostream &out, llvm::ArrayRef<StackedBar> bars,
                      Palette &palette, llvm::StringRef unit, double mark) {
  constexpr double width = 520, step = 24, letter = 6.9;
  double most = mark, left = 40;
  for (const StackedBar &bar : bars)
    left = std::max(left, bar.label.size() * letter + 16);
  for (const StackedBar &bar : bars) {
    double sum = 0;
    for (const auto &part : bar.parts)
      sum += part.second;
    most = std::max(most, sum);
  }
  double scale = most > 0 ? width / most : 0, y = 4;
  open(out, left + width + 130, bars.size() * step + 12);
  for (const StackedBar &bar : bars) {
    text(out, left - 8, y + 14, "end", bar.label);
    double x = left;
    for (const auto &[name, value] : bar.parts) {
      box(out, x, y, value * scale, step - 6, palette.colorOf(name),
          formatv("{0}: {1:F2} {2}", name, value, unit).str());
      x += value * scale;
    }
    text(out, x + 6, y + 14, "start", bar.total);
    y += step;
  }
  if (mark > 0)
    out << formatv("<line x1=\"{0:F1}\" x2=\"{0:F1}\" y1=\"0\" y2=\"{1:F1}\" "
                   "class=\"mark\"><title>{2:F1} {3}</title></line>\n",
                   left + mark * scale, y, mark, unit);
  out << "</svg>\n";
}

void moe::logLogChart(llvm::raw_ostream &out, llvm::ArrayRef<Curve> curves,
                      Palette &palette, llvm::StringRef xTitle,
                      llvm::StringRef yTitle) {
  constexpr double left = 70, top = 10, width = 700, height = 320;
  double x0 = INFINITY, x1 = 0, y0 = INFINITY, y1 = 0;
  for (const Curve &curve : curves)
    for (auto [x, y] : curve.points) {
      x0 = std::min(x0, x), x1 = std::max(x1, x);
      y0 = std::min(y0, y), y1 = std::max(y1, y);
    }
  if (x1 <= 0 || x0 >= x1 || y0 <= 0)
    return;
  y0 *= 0.9, y1 *= 1.1;
  auto at = [](double value, double low, double high) {
    return std::log(value / low) / std::log(high / low);
  };
  open(out, left + width + 40, top + height + 50);
  for (double x = std::pow(2, std::ceil(std::log2(x0))); x <= x1 * 1.001;
       x *= 4) {
    double px = left + width * at(x, x0, x1);
    out << formatv("<line x1=\"{0:F1}\" x2=\"{0:F1}\" y1=\"{1}\" y2=\"{2}\" "
                   "class=\"grid\"/>\n",
                   px, top, top + height);
    text(out, px, top + height + 18, "middle", formatv("{0:F0}", x).str());
  }
  for (double y = std::pow(10, std::floor(std::log10(y0))); y <= y1; y *= 10)
    for (double tick : {y, 2 * y, 5 * y}) {
      if (tick < y0 || tick > y1)
        continue;
      double py = top + height * (1 - at(tick, y0, y1));
      out << formatv("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:F1}\" y2=\"{2:F1}\" "
                     "class=\"grid\"/>\n",
                     left, left + width, py);
      text(out, left - 6, py + 4, "end", formatv("{0:F0}", tick).str());
    }
  for (const Curve &curve : curves) {
    out << formatv("<polyline class=\"curve\" stroke=\"{0}\" points=\"",
                   palette.colorOf(curve.label));
    for (auto [x, y] : curve.points)
      out << formatv("{0:F1},{1:F1} ", left + width * at(x, x0, x1),
                     top + height * (1 - at(y, y0, y1)));
    out << formatv("\"><title>{0}</title></polyline>\n", escaped(curve.label));
  }
  text(out, left + width / 2, top + height + 40, "middle", xTitle);
  out << formatv("<text transform=\"translate(14 {0:F0}) rotate(-90)\" "
                 "text-anchor=\"middle\">{1}</text>\n",
                 top + height / 2, escaped(yTitle));
  out << "</svg>\n";
}

void moe::timelineChart(llvm::raw_ostream &out, llvm::ArrayRef<Span> spans,
                        int64_t rows, Palette &palette) {
  constexpr double left = 70, width = 800, step = 22;
  double end = 0;
  for (const Span &span : spans)
    end = std::max(end, span.end);
  double scale = end > 0 ? width / end : 0;
  open(out, left + width + 40, rows * step + 30);
  for (int64_t row = 0; row < rows; ++row)
    text(out, left - 8, row * step + 15, "end", formatv("rank {0}", row).str());
  for (const Span &span : spans)
    box(out, left + span.start * scale, span.row * step + 2,
        (span.end - span.start) * scale, step - 5, palette.colorOf(span.color),
        formatv("{0}: {1:F2} to {2:F2} us", span.name, span.start, span.end)
            .str());
  text(out, left, rows * step + 20, "start", "0 us");
  text(out, left + width, rows * step + 20, "end",
       formatv("{0:F1} us", end).str());
  out << "</svg>\n";
}

void moe::columns(llvm::raw_ostream &out, llvm::ArrayRef<double> values,
                  int64_t perColor) {
  constexpr double left = 70, width = 800, height = 120;
  double most = 0;
  for (double value : values)
    most = std::max(most, value);
  if (most <= 0)
    return;
  double step = width / values.size();
  open(out, left + width + 20, height + 24);
  text(out, left - 6, 12, "end", formatv("{0:F0}", most).str());
  text(out, left - 6, height, "end", "0");
  for (auto [index, value] : llvm::enumerate(values))
    box(out, left + index * step, height * (1 - value / most),
        std::max(0.3, step * 0.9), height * value / most,
        kColors[index / perColor % 2],
        formatv("slot {0}, rank {1} of its group: {2:F0} rows", index,
                index / perColor, value)
            .str());
  text(out, left + width / 2, height + 18, "middle",
       "slots, by the rank that holds them");
  out << "</svg>\n";
}
