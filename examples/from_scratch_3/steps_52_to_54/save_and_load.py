"""Volume 3, step 53: the weights of a model into a file, and back into another model.

See: the second model begins with other weights and answers otherwise; with the file it answers alike, to the
bit. A file that does not fit is refused, with all the names that are missing or too many.
"""

from pathlib import Path

import lampion
from lampion import nn


def network(hidden: int = 10) -> nn.Module:
    return nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 3))


def main(out: str = "runs/examples") -> dict[str, object]:
    lampion.manual_seed(0)
    file = Path(out) / "weights.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    x, first, second = lampion.randn(4, 2), network(), network()
    before = lampion.equal(first(x), second(x))
    lampion.save(first.state_dict(), file)
    second.load_state_dict(lampion.load(file))
    after = lampion.equal(first(x), second(x))
    try:
        nn.Linear(2, 10).load_state_dict(lampion.load(file))
        refusal = ""
    except RuntimeError as error:
        refusal = str(error)
    print(f"equal before: {before}, after: {after}; {file.stat().st_size} bytes\n{refusal}")
    return {"before": before, "after": after, "refusal": refusal}


if __name__ == "__main__":
    main()
