"""One editor's session with moe-lsp-server: open a file with a mistake, read its diagnostics, correct it, hover, complete, jump, leave."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "sanitizers"))
from instrumented import scaled  # noqa: E402

WRONG = """func.func @layer(%x: tensor<?x64xf32>, %gate: tensor<8x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  %w, %ids = moe.route %x, %gate router(<top_k = 9>) : (tensor<?x64xf32>, tensor<8x64xf32>) -> (tensor<?x9xf32>, tensor<?x9xi32>)
  return %w, %ids : tensor<?x9xf32>, tensor<?x9xi32>
}
"""
RIGHT = WRONG.replace("= 9", "= 2").replace("?x9x", "?x2x")
COMPLETE = RIGHT.replace("  return", "  moe.\n  return")
URI = "file:///layer.mlir"


class Server:
    def __init__(self):
        self.process = subprocess.Popen(["moe-lsp-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.number = 0

    def send(self, method, params, **more):
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def read(self):
        length = None
        while line := self.process.stdout.readline().strip():
            name, value = line.split(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if length is None:
            sys.exit("the server has left")
        return json.loads(self.process.stdout.read(length))

    def ask(self, method, params):
        """The result of a request; notifications in between are dropped."""
        self.number += 1
        self.send(method, params, id=self.number)
        while (answer := self.read()).get("id") != self.number:
            pass
        if "error" in answer:
            sys.exit(f"{method}: {answer['error']}")
        return answer["result"]

    def diagnostics(self):
        while (message := self.read()).get("method") != "textDocument/publishDiagnostics":
            pass
        return message["params"]["diagnostics"]


def place(text, word, after=0):
    """Line and character of a word."""
    line = next(i for i, content in enumerate(text.split("\n")) if word in content)
    return {"textDocument": {"uri": URI}, "position": {"line": line, "character": text.split("\n")[line].index(word) + after}}


def change(server, text, version):
    server.send("textDocument/didChange", {"textDocument": {"uri": URI, "version": version}, "contentChanges": [{"text": text}]})
    return server.diagnostics()


def main():
    server = Server()
    capabilities = server.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})["capabilities"]
    for name in ("hoverProvider", "completionProvider", "definitionProvider"):
        assert capabilities.get(name), capabilities
    server.send("initialized", {})

    server.send("textDocument/didOpen", {"textDocument": {"uri": URI, "languageId": "mlir", "version": 1, "text": WRONG}})
    found = server.diagnostics()
    assert len(found) == 1 and "selects 9 experts per token, but there are only 8" in found[0]["message"], found
    assert found[0]["range"]["start"]["line"] == 1, found

    assert change(server, RIGHT, 2) == []
    hover = server.ask("textDocument/hover", place(RIGHT, "moe.route", 5))["contents"]["value"]
    assert "moe.route" in hover and "top_k = 2" in hover, hover
    definition = server.ask("textDocument/definition", place(RIGHT, "%gate router", 2))
    assert definition[0]["range"]["start"]["line"] == 0, definition

    change(server, COMPLETE, 3)
    offered = server.ask("textDocument/completion", place(COMPLETE, "  moe.\n".rstrip(), 6))
    labels = {item["label"] for item in (offered["items"] if isinstance(offered, dict) else offered)}
    assert {"moe.experts", "moe.grouped_matmul", "moe.route"} <= labels or {"experts", "grouped_matmul", "route"} <= labels, sorted(labels)

    server.ask("shutdown", None)
    server.send("exit", None)
    assert server.process.wait(timeout=scaled(20)) == 0
    print("the session went as it should")


main()
