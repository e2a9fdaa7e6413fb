"""check_cases.py FILE.md CASES...: each ```mlir block of a document must stand, line for line, in one case of the CASES files (lit tests split by
`// -----` that run with --verify-diagnostics), and the text in backticks under the block must be what that case expects as its error. So an
example that no longer fails as the document says fails here or there."""
import re
import sys


def cases(paths):
    for path in paths:
        with open(path) as file:
            for case in re.split(r"^// -----$", file.read(), flags=re.M):
                lines = [line.strip() for line in case.split("\n")]
                errors = re.findall(r"expected-error @\S+ \{\{(.*)\}\}", case)
                yield [line for line in lines if line and not line.startswith("//")], errors


def stands_in(block, lines):
    return any(lines[i : i + len(block)] == block for i in range(len(lines)))


def main():
    document, *paths = sys.argv[1:]
    with open(document) as file:
        text = file.read()
    examples = re.findall(r"^```mlir\n(.*?)^```\n((?:`[^\n]*`\n)?)", text, re.S | re.M)
    if not examples:
        sys.exit(f"{document} has no mlir block")
    known = list(cases(paths))
    for block, message in examples:
        lines = [line.strip() for line in block.strip().split("\n")]
        found = [errors for case, errors in known if stands_in(lines, case)]
        if not found:
            sys.exit(f"{document}: no case has these lines in a row:\n{block}")
        wanted = message.strip()[1:-1]
        if not wanted:
            sys.exit(f"{document}: no error stands under\n{block}")
        if not any(error.startswith(wanted) for errors in found for error in errors):
            sys.exit(f"{document}: says\n{wanted}\nbut the cases with this example expect\n" + "\n".join(sum(found, [])))


if __name__ == "__main__":
    main()
