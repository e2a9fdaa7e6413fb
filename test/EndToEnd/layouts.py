"""Layouts of one layer over ranks, as words of --place."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    edp: int
    ep: int
    etp: int
    dispatcher: str = "all_to_all"
    boundary: str = "split"
    shared: str = "replicated"

    @property
    def ranks(self):
        return self.edp * self.ep * self.etp

    def words(self):
        return (f"ranks={self.ranks} ep={self.ep} etp={self.etp} edp={self.edp} dispatcher={self.dispatcher} "
                f"boundary={self.boundary} shared={self.shared}")

    def suits(self, sizes):
        """What the placement rules ask for: an expert for each ep, widths that etp and ranks divide."""
        fits = self.ep <= sizes.experts and sizes.width % self.etp == 0
        return fits and (self.shared == "replicated" or sizes.shared_width > 0 and sizes.shared_width % self.ranks == 0)


@dataclass
class Sizes:
    experts: int
    width: int
    shared_width: int  # 0: no shared expert

    @staticmethod
    def of(layer):
        _, _, width, _ = layer.experts.up.shape
        return Sizes(len(layer.gate), width, layer.shared.up.shape[2] if layer.shared else 0)


def degrees(ranks):
    """Every (edp, ep, etp) with that product."""
    divisors = [d for d in range(1, ranks + 1) if ranks % d == 0]
    return [(edp, ep, ranks // edp // ep) for edp in divisors for ep in divisors if ranks % (edp * ep) == 0]


def every_layout(sizes):
    # 3, 5 and 6 ranks: more cases where the experts are not divisible.
    shapes = [shape for ranks in (1, 2, 4, 8) for shape in degrees(ranks)] + [(1, 3, 1), (1, 5, 1), (1, 3, 2), (2, 3, 1)]
    layouts = [Layout(*shape, dispatcher, boundary, shared) for shape in shapes for dispatcher in ("all_to_all", "all_gather")
               for boundary in ("split", "replicated") for shared in ("replicated", "split")]
    return [layout for layout in layouts if layout.suits(sizes)]


def few_layouts(sizes):
    """One of each kind: alone, pure ep, pure etp, mixtures, both dispatchers and boundaries."""
    shared = "split" if sizes.shared_width else "replicated"
    layouts = [Layout(1, 1, 1), Layout(1, 8, 1), Layout(1, 1, 8), Layout(1, 4, 2, "all_gather", "replicated"), Layout(2, 2, 2),
               Layout(1, 3, 1, "all_gather"), Layout(2, 2, 2, "all_gather", "split", shared), Layout(1, 4, 2, "all_to_all", "replicated", shared)]
    return [layout for layout in layouts if layout.suits(sizes)]
