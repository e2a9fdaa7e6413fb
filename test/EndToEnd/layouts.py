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
    dedup: bool = False
    nodes: int = 1
    attn_tp: int = 0  # 0: not said

    @property
    def ranks(self):
        return self.edp * self.ep * self.etp

    def words(self):
        words = (f"ranks={self.ranks} ep={self.ep} etp={self.etp} edp={self.edp} dispatcher={self.dispatcher} "
                 f"boundary={self.boundary} shared={self.shared}")
        if self.dedup:
            words += " dedup=true"
        if self.nodes > 1:
            words += f" nodes={self.nodes}"
        return words + (f" attn_tp={self.attn_tp}" if self.attn_tp else "")

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


def dispatchers(ranks=8):
    """Every dispatcher with and without dedup, on meshes of 8 ranks, plain and folded over attention's, on one node and on two."""
    meshes = [(1, 8, 1), (2, 4, 1), (4, 2, 1), (1, 2, 4), (1, 4, 2), (1, 1, 8), (2, 2, 2)]
    layouts = []
    for dedup in (False, True):
        for mesh in meshes:
            for boundary, attn_tp in (("split", 0), ("replicated", 0), ("replicated", 2)):
                base = {"boundary": boundary, "dedup": dedup, "attn_tp": attn_tp}
                layouts += [Layout(*mesh, "all_to_all", **base), Layout(*mesh, "all_gather", **base)]
                nodes = 2 * mesh[0]  # two nodes for each replica
                if ranks // nodes > mesh[2]:  # a node holds several ranks of ep
                    layouts.append(Layout(*mesh, "two_level", nodes=nodes, **base))
    return layouts


def few_dispatchers():
    """One of each kind that `few_layouts` does not have."""
    return [Layout(1, 8, 1, dedup=True), Layout(1, 4, 2, "two_level", "replicated", nodes=2, dedup=True, attn_tp=2), Layout(1, 8, 1, "two_level", nodes=4),
            Layout(1, 3, 2, dedup=True, boundary="replicated")]


def every_layout(sizes):
    # 3, 5 and 6 ranks: more cases where the experts are not divisible.
    shapes = [shape for ranks in (1, 2, 4, 8) for shape in degrees(ranks)] + [(1, 3, 1), (1, 5, 1), (1, 3, 2), (2, 3, 1)]
    layouts = [Layout(*shape, dispatcher, boundary, shared) for shape in shapes for dispatcher in ("all_to_all", "all_gather")
               for boundary in ("split", "replicated") for shared in ("replicated", "split")]
    layouts += dispatchers() + few_dispatchers()
    return [layout for layout in layouts if layout.suits(sizes)]


def few_layouts(sizes):
    """One of each kind: alone, pure ep, pure etp, mixtures, both dispatchers and boundaries."""
    shared = "split" if sizes.shared_width else "replicated"
    layouts = [Layout(1, 1, 1), Layout(1, 8, 1), Layout(1, 1, 8), Layout(1, 4, 2, "all_gather", "replicated"), Layout(2, 2, 2),
               Layout(1, 3, 1, "all_gather"), Layout(2, 2, 2, "all_gather", "split", shared), Layout(1, 4, 2, "all_to_all", "replicated", shared)]
    layouts += few_dispatchers()
    return [layout for layout in layouts if layout.suits(sizes)]
