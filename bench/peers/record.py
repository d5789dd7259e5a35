"""The JSON of record of a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Record:
    """The JSON of record: entries by section, each replaced when it is measured again."""

    def __init__(self, path: Path, machine: dict[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {"machine": machine}
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            apart = ("dadapy_environment",)
            same = all(stored["machine"].get(f) == v for f, v in machine.items() if f not in apart)
            if same:
                self.content = stored | {"machine": stored["machine"] | machine}
            else:
                print(f"{path.name} is of another machine or other versions: starting anew")

    def put(self, section: str, key: dict[str, Any], entry: dict[str, Any]) -> None:
        kept = [e for e in self.content.get(section, []) if any(e[f] != key[f] for f in key)]
        self.content[section] = [*kept, key | entry]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.content, indent=1) + "\n"
        self.path.write_text(text, encoding="utf-8")
