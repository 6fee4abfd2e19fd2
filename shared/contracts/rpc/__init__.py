"""The RPC wire: what each method takes and answers, and the errors that it may raise.

The server returns the structs of these modules, and `shared.nameko_ext.rpc` encodes them; a client of ours converts the answer by
`Method.read`. Old and new releases run side by side, so the wire is only ever expanded:

- an answer gets a new field with a default, which means "not told"; a reader ignores fields that it does not know;
- a word of an enumeration may be added: readers take texts, and know what to do with one that they have never heard of;
- an argument is added with a default; a method is added before anybody calls it;
- nothing is renamed, and nothing is removed but a release after its last reader.

`tests/contract/golden/rpc/` holds an example of every method; `docs/rpc.md` is made from these modules.
"""

from __future__ import annotations

from typing import Any, Final

from shared.contracts.rpc import billing, imports, notifier, portal
from shared.contracts.rpc.base import Method

METHODS: Final[dict[tuple[str, str], Method[Any]]] = {
    (method.service, method.name): method
    for module in (portal, billing, imports, notifier)
    for method in vars(module).values()
    if isinstance(method, Method)
}
"""Every method, by service and name."""
