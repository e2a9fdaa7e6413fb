"""run_console.py FILE FOLDER: runs what the ```console blocks of a Markdown file show. In FOLDER, in order, each line after `$ ` (and its
continuations after a backslash) is a command for bash; the lines that follow are its output, standard error included, where a line `...`
stands for any lines and `...` at a line's end for its rest. Exits non-zero at the first command whose output is another."""
import re
import subprocess
import sys


def blocks(text):
    """(line number, lines) of each console block."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "```console":
            start = number + 1
        elif line == "```" and start is not None:
            yield start + 1, lines[start:number]
            start = None


def commands(lines):
    """(offset, command, expected lines)."""
    i = 0
    while i < len(lines):
        if not lines[i].startswith("$ "):
            raise ValueError(f"`{lines[i]}` stands before a command")
        offset, command = i, lines[i][2:]
        while command.endswith("\\"):
            i += 1
            command = command[:-1] + lines[i].strip()
        i += 1
        first = i
        while i < len(lines) and not lines[i].startswith("$ "):
            i += 1
        yield offset, command, lines[first:i]


def pattern(expected):
    parts = []
    for line in expected:
        if line == "...":
            parts.append(r"(?:.*\n)*")
        elif line.endswith("..."):
            parts.append(re.escape(line[:-3]) + r".*\n")
        else:
            parts.append(re.escape(line) + r"\n")
    return "".join(parts)


def main():
    path, folder = sys.argv[1:]
    ran = 0
    with open(path) as file:
        text = file.read()
    for number, lines in blocks(text):
        for offset, command, expected in commands(lines):
            result = subprocess.run(["bash", "-c", command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            output = result.stdout if not result.stdout or result.stdout.endswith("\n") else result.stdout + "\n"
            # Trailing blanks and empty last lines do not show on a page.
            output = re.sub(r"[ \t]+\n", "\n", output).rstrip("\n") + "\n" if output.strip() else ""
            if not re.fullmatch(pattern(expected), output):
                sys.exit(f"{path}:{number + offset}: `{command}` printed\n{output}but the text shows\n" + "\n".join(expected))
            ran += 1
    if ran == 0:
        sys.exit(f"{path} shows no command")


if __name__ == "__main__":
    main()
