"""Reads what moe-opt prints with --mlir-print-op-generic --mlir-print-local-scope: straight-line functions, one operation a line."""

import re
from dataclasses import dataclass

OPENING, CLOSING = "<([{", ">)]}"


def split(text, separator=","):
    """Parts of `text` between separators that no bracket or string encloses."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in OPENING:
            depth += 1
        elif c in CLOSING and text[i - 1] != "-":
            depth -= 1
        elif c == separator and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return parts + [last] if last else parts


def fields(text):
    """{name: value} of "a = 1, b = #x<c = 2>"; a name alone has the value "unit"."""
    result = {}
    for part in split(text):
        name, _, value = part.partition(" = ")
        result[name] = value or "unit"
    return result


def inside(text):
    """What the outermost brackets of `text` enclose."""
    first = min(text.index(c) for c in OPENING if c in text)
    return text[first + 1 : -1]


def ints(text):
    return [int(n) for n in re.findall(r"(?<![i\d])-?\d+", text)]


def strings(text):
    return re.findall(r'"([^"]*)"', text)


@dataclass
class Op:
    name: str
    results: list
    operands: list
    attributes: dict
    result_types: str

    def groups(self):
        """Operands by their optional groups, without `outs`, the last; None for those that are absent."""
        sizes = self.attributes.get("operandSegmentSizes")
        if not sizes:
            return self.operands
        rest = iter(self.operands)
        return [next(rest) if size else None for size in ints(inside(sizes))[:-1]]


@dataclass
class Function:
    name: str
    grid: list
    arguments: list  # of (value, attributes)
    results: list  # of attributes
    body: list


LINE = re.compile(r'(?:(%\w+)(?::(\d+))? = )?"([\w.]+)"\(([^)]*)\)(?: <\{(.*)\}>)?(?: \{(.*)\})? : \(.*\) -> (.*)$')


def parse_op(line):
    match = LINE.match(line.strip())
    if not match:
        raise ValueError(f"not an operation: {line}")
    result, count, name, operands, properties, attributes, types = match.groups()
    results = [result] if result and not count else [f"{result}#{i}" for i in range(int(count or 0))]
    every = fields(properties or "") | fields(attributes or "")
    return Op(name, results, [o.strip() for o in operands.split(",") if o], every, types)


def parse(text):
    """{name: Function} of a module."""
    grid = ints(re.search(r'"shard.grid"\(\) <\{.*?shape = array<i64: ([^>]*)>', text)[1])
    functions = {}
    for match in re.finditer(r'"func.func"\(\) <\{(.*?)\}> \(\{\n\s*\^bb0\(([^\n]*)\):\n(.*?)\n\s*\}\)', text, re.S):
        properties = fields(match[1])
        attributes = [fields(inside(a)) for a in split(inside(properties["arg_attrs"]))]
        values = [argument.partition(":")[0] for argument in split(match[2])]
        results = [fields(inside(r)) for r in split(inside(properties["res_attrs"]))]
        name = strings(properties["sym_name"])[0]
        body = [parse_op(line) for line in match[3].splitlines()]
        functions[name] = Function(name, grid, list(zip(values, attributes)), results, body)
    return functions
