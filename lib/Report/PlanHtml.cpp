// A plan on one page that needs nothing else: no script, no network.
#include "SvgChart.h"
#include "moe/Analysis/StableOrder.h"
#include "moe/Report/PlanReport.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;
using llvm::formatv;

static constexpr llvm::StringLiteral kStyle = R"(
body{font:15px/1.45 sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}
pre{background:#f4f4f2;padding:.8em;white-space:pre-wrap;font-size:13px;line-height:1.4}
svg{max-width:100%;height:auto;display:block}svg text{font:12px sans-serif;fill:#222}
.legend span{margin-right:1em;white-space:nowrap;font-size:13px}
.legend i{display:inline-block;width:.9em;height:.9em;margin-right:.35em;vertical-align:-.1em}
.grid{stroke:#ddd}.mark{stroke:#b00;stroke-width:2;stroke-dasharray:4 3}
.curve{fill:none;stroke-width:2.2}p.note{color:#555;font-size:13px}
table{border-collapse:collapse;font-size:13px}td,th{padding:.2em .6em;border-bottom:1px solid #ddd;text-align:left}
)";

static std::vector<std::pair<std::string, double>>
partsOf(const std::map<std::string, double> &terms) {
  return {terms.begin(), terms.end()};
}

static std::vector<const Candidate *> legalOf(ArrayRef<Plan> plans) {
  std::vector<const Candidate *> legal;
  for (const Plan &plan : plans)
    for (const Candidate &candidate : plan.candidates)
      if (candidate.legal)
        legal.push_back(&candidate);
  sortStably(legal, [](const Candidate *a, const Candidate *b) {
    return a->us < b->us;
  });
  return legal;
}

// With the mark of the winner.
static std::string labelOf(const Candidate &candidate, const Candidate &best) {
  return (candidate.layout() == best.layout() ? "winner: " : "") +
         candidate.layout();
}

// The winner, which may not be the fastest of its number of tokens, and others.
static std::vector<const Candidate *> shownOf(ArrayRef<const Candidate *> legal,
                                              const Candidate &best,
                                              size_t count) {
  std::vector<const Candidate *> shown(legal.take_front(count));
  if (llvm::none_of(shown, [&](const Candidate *other) {
        return other->layout() == best.layout() && other->us == best.us;
      }))
    shown.back() = &best;
  return shown;
}

static void costs(llvm::raw_ostream &out, ArrayRef<const Candidate *> legal,
                  const Candidate &best) {
  out << formatv("<h2>Cost by term</h2>\n<p class=\"note\">At {0:F0} tokens "
                 "a step.</p>\n",
                 best.tokens);
  std::vector<StackedBar> bars;
  for (const Candidate *candidate : shownOf(legal, best, 14))
    bars.push_back({labelOf(*candidate, best),
                    formatv("{0:F1} us", candidate->us).str(),
                    partsOf(candidate->terms)});
  Palette palette;
  std::string body;
  llvm::raw_string_ostream stream(body);
  stackedBars(stream, bars, palette, "us");
  palette.legend(out);
  out << body;
}

static void crossover(llvm::raw_ostream &out, const Plan &plan,
                      ArrayRef<const Candidate *> legal,
                      const Candidate &best) {
  if (plan.sweep.size() < 2)
    return;
  std::vector<Curve> curves;
  auto want = [&](const std::string &layout) {
    if (curves.size() < 7 && llvm::none_of(curves, [&](const Curve &curve) {
          return curve.label == layout;
        }))
      curves.push_back({layout, {}});
  };
  want(best.layout());
  for (const TokenPoint &point : plan.sweep)
    if (!point.candidates.empty() && point.candidates.front().legal)
      want(point.candidates.front().layout());
  for (const Candidate *candidate : legal.take_front(4))
    want(candidate->layout());
  for (Curve &curve : curves)
    for (const TokenPoint &point : plan.sweep)
      for (const Candidate &candidate : point.candidates)
        if (candidate.legal && candidate.layout() == curve.label)
          curve.points.emplace_back(point.tokens, candidate.us);
  out << "<h2>Crossover over tokens</h2>\n<p class=\"note\">us of a step over "
         "tokens of a step, both logarithmic.</p>\n";
  Palette palette;
  std::string body;
  llvm::raw_string_ostream stream(body);
  logLogChart(stream, curves, palette, "tokens", "us");
  palette.legend(out);
  out << body;
}

static void memory(llvm::raw_ostream &out, const Plan &plan,
                   ArrayRef<const Candidate *> legal, const Candidate &best) {
  out << formatv(
      "<h2>Memory of a rank</h2>\n<p class=\"note\">The line is what "
      "a device of {0} has: {1:F1} GB.</p>\n",
      escaped(plan.request.machine.name),
      plan.request.machine.memoryBytes / 1e9);
  std::vector<StackedBar> bars;
  for (const Candidate *candidate : shownOf(legal, best, 6)) {
    StackedBar bar{labelOf(*candidate, best),
                   formatv("{0:F2} GB", candidate->memory.total() / 1e9).str(),
                   {}};
    for (const LedgerEntry &entry : candidate->memory.entries)
      bar.parts.emplace_back(entry.name, entry.bytes / 1e9);
    bars.push_back(std::move(bar));
  }
  Palette palette;
  std::string body;
  llvm::raw_string_ostream stream(body);
  stackedBars(stream, bars, palette, "GB",
              plan.request.machine.memoryBytes / 1e9);
  palette.legend(out);
  out << body;
}

static void timeline(llvm::raw_ostream &out, const Candidate &best) {
  out << formatv(
      "<h2>One layer on the ranks of {0}</h2>\n<p class=\"note\">The "
      "first draw of the routing; ranks of one group of experts, at "
      "most 8. Gaps are waits for the slowest.</p>\n",
      escaped(best.layout()));
  std::vector<Span> spans;
  int64_t rows = 0;
  for (const TimelineEvent &event : best.layer.timeline) {
    spans.push_back(
        {event.member, event.name, event.term, event.startUs, event.endUs});
    rows = std::max(rows, event.member + 1);
  }
  Palette palette;
  std::string body;
  llvm::raw_string_ostream stream(body);
  timelineChart(stream, spans, rows, palette);
  palette.legend(out);
  out << body << "<h2>Rows of each expert</h2>\n";
  columns(out, best.layer.loads,
          std::max<int64_t>(1, best.layer.loads.size() / best.words.ep));
}

static void refusals(llvm::raw_ostream &out, ArrayRef<Plan> plans) {
  llvm::StringSet<> seen;
  std::string rows;
  llvm::raw_string_ostream stream(rows);
  for (const Plan &plan : plans)
    for (const Candidate &candidate : plan.candidates)
      if (!candidate.legal && seen.size() < 12 &&
          seen.insert(candidate.reason).second)
        stream << "<tr><td>" << escaped(candidate.layout()) << "</td><td>"
               << escaped(candidate.reason) << "</td></tr>\n";
  if (!rows.empty())
    out << "<h2>Refused</h2>\n<table><tr><th>layout</th><th>why</th></tr>\n"
        << rows << "</table>\n";
}

std::string moe::planHtml(ArrayRef<Plan> plans) {
  std::string page;
  llvm::raw_string_ostream out(page);
  const Plan &first = plans.front();
  std::vector<const Candidate *> legal = legalOf(plans);
  out << "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
         "'none'; style-src 'unsafe-inline'\"><title>Placement plan</title>"
         "<style>"
      << kStyle << "</style></head><body>\n"
      << formatv("<h1>Placement on {0} ranks of {1}</h1>\n<pre>{2}</pre>\n",
                 first.request.resolvedRanks(),
                 escaped(first.request.machine.name), escaped(planText(plans)));
  if (const Candidate *best = chosen(plans)) {
    costs(out, legal, *best);
    crossover(out, first, legal, *best);
    memory(out, first, legal, *best);
    timeline(out, *best);
  }
  refusals(out, plans);
  out << formatv("<p class=\"note\">Routing {0}; phase {1}. Costs are made by "
                 "simulating the program that each layout compiles to; "
                 "docs/Placement.md says how.</p>\n</body></html>\n",
                 escaped(first.request.routing.spelling),
                 escaped(first.request.phase));
  return page;
}
